"""A guest's way from one Pod to another."""

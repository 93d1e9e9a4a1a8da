"""Policies across a cluster. Nothing here is imported by the engine or its command line."""

"""Checking a bridge between its members before a VM lands there."""

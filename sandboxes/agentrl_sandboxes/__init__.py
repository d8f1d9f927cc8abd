"""Sandboxes, one class per file."""

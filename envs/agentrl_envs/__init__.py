"""Worlds, one file or folder each."""

"""Shapers."""

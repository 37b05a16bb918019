"""Patches and undo."""

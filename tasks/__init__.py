"""Tasks: one file, one task."""

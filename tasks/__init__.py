"""Streams of data: one file, one task."""

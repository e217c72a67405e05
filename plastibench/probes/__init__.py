"""Probes: one file, one probe."""

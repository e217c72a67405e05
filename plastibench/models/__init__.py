"""Architectures: one file, one model."""

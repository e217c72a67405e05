"""Estimates, intervals and tests over seeds and settings."""

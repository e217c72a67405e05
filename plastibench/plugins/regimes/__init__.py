"""Regimes: one file, one regime."""

"""Remedies for loss of plasticity: one file, one remedy."""

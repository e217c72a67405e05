"""Data sets: found, checked, decoded once, and kept where they are used."""

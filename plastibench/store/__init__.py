"""Finished and unfinished runs under a home folder."""

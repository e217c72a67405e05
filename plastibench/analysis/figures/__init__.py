"""Figures of result tables, drawn by matplotlib: the same runs give the same bytes."""

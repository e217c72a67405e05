"""Executes runs: one here, or many across worker processes."""

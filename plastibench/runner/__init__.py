"""Execution of runs: one in this process, or many by an executor."""

"""Executors of runs: in this process, or in several processes of this machine."""

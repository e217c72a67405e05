"""Throughput of devices, and where the seconds of a run go."""

"""Progress of runs and of tunings, and log lines: on a terminal, in a notebook, or in a file."""

"""The command line: parses options, renders results, and turns every ending into an exit status."""

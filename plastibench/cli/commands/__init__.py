"""One file, one verb of the command line: its options, and a call. Heavy packages are imported inside."""

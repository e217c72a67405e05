"""Lets `python -m plastibench` be the command line."""

from plastibench.cli.main import main

main()

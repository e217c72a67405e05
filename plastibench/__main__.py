"""Lets `python -m plastibench` be the command line."""

from plastibench.cli import main

main()

"""Exit codes of the command line."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    SUCCESS = 0
    """Everything was done."""
    FAILURE = 1
    """A run failed, differs, conflicts or is damaged; everything else was done."""
    USAGE = 2
    """The request cannot be met: one line on stderr says why, and nothing was done."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM, SIGUSR1 or a closed terminal: the state of every run is saved, and the same command
    continues (128 + SIGINT, as in a shell)."""

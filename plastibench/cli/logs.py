"""Log records as plain lines on the console that also draws the live display."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from plastibench.display.messages import ScreenHandler

if TYPE_CHECKING:
    from plastibench.display.screen import Screen

TRACEBACK_VARIABLE = "PLASTIBENCH_TRACEBACK"
"""Set to print the tracebacks of errors, as --verbose does."""
TRACEBACK_HINT = "--verbose prints the traceback"
PACKAGE = logging.getLogger("plastibench")
LEVELS = {"quiet": logging.WARNING, "verbose": logging.DEBUG}


def wants_tracebacks() -> bool:
    """Return whether the user asked for the tracebacks of errors."""
    return bool(os.environ.get(TRACEBACK_VARIABLE)) or PACKAGE.isEnabledFor(logging.DEBUG)


class ConsoleHandler(ScreenHandler):
    """Print the records of a command on stderr."""

    @cached_property
    def console(self) -> Screen:  # type: ignore[override]
        """Return the console on stderr; made on first use, since importing rich takes time."""
        from plastibench.display.screen import Screen

        return Screen(stderr=True)

    @property
    def display_console(self) -> Screen:
        """Return the console for live displays, which is silent with --quiet."""
        from plastibench.display.screen import Screen

        return self.console if PACKAGE.isEnabledFor(logging.INFO) else Screen(quiet=True)

    def set_verbosity(self, name: str) -> None:
        """Let through what `--quiet` or `--verbose` does."""
        PACKAGE.setLevel(LEVELS[name])


@contextmanager
def log_to_console() -> Iterator[ConsoleHandler]:
    """Show the package's log records while inside: from INFO on, unless the user asks for less or more."""
    handler, level = ConsoleHandler(), PACKAGE.level
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(level)

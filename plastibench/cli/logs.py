"""Log records as plain lines on the console that also draws the live display."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from plastibench.errors import hide_logins

if TYPE_CHECKING:
    from plastibench.display.screen import Screen

TRACEBACK_VARIABLE = "PLASTIBENCH_TRACEBACK"
"""Set to print the traceback of an error."""
PACKAGE = logging.getLogger("plastibench")


class ConsoleHandler(logging.Handler):
    """Print each record as one unwrapped line, above the live display if one is shown.

    Not `rich.logging.RichHandler`: it lays records out in a table, which wraps them at the console's width.
    """

    @cached_property
    def console(self) -> Screen:
        """Return the console on stderr; made on first use, since importing rich takes time."""
        from plastibench.display.screen import Screen

        return Screen(stderr=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record. A terminal that is gone must not stop a run."""
        from rich.text import Text

        with suppress(Exception):
            # As Text: brackets in a path or an error are no markup.
            self.console.print(Text(hide_logins(self.format(record))), soft_wrap=True)


@contextmanager
def log_to_console() -> Iterator[ConsoleHandler]:
    """Show the package's log records from INFO on while inside."""
    handler, level = ConsoleHandler(), PACKAGE.level
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(level)

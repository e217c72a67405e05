"""Messages of the package, printed on the console that also draws the live display."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from plastibench.console import can_redraw
from plastibench.errors import hide_logins

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = logging.getLogger("plastibench")


class ScreenHandler(logging.Handler):
    """Print each record as one unwrapped line, above the live display if one is shown.

    Not `rich.logging.RichHandler`: it lays records out in a table, which wraps them at the console's width.
    """

    console: Console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record. A terminal that is gone must not stop a run."""
        from rich.text import Text

        with suppress(Exception):
            line = hide_logins(self.format(record))
            if getattr(record, "timed", False) and not can_redraw(self.console.file):
                line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {line}"
            # As Text: brackets in a path or an error are no markup.
            self.console.print(Text(line), soft_wrap=True)


@contextmanager
def messages_shown(console: Console, level: int) -> Iterator[None]:
    """Print messages of a level and above while inside, unless the user has set up logging."""
    handlers = [*PACKAGE.handlers, *logging.getLogger().handlers]
    if not all(isinstance(handler, logging.NullHandler) for handler in handlers):
        yield
        return
    handler, before = ScreenHandler(), PACKAGE.level
    handler.console = console
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(level)
    try:
        yield
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(before)

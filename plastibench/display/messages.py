"""Messages of the package, printed on the console that also draws the live display."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from plastibench.errors import hide_logins

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = logging.getLogger("plastibench")


class _Messages(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        with suppress(Exception):
            self.console.print(Text(hide_logins(self.format(record))), soft_wrap=True)


@contextmanager
def messages_shown(console: Console, level: int) -> Iterator[None]:
    """Print messages of a level and above while inside, unless the user has set up logging."""
    handlers = [*PACKAGE.handlers, *logging.getLogger().handlers]
    if not all(isinstance(handler, logging.NullHandler) for handler in handlers):
        yield
        return
    handler, before = _Messages(console), PACKAGE.level
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(level)
    try:
        yield
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(before)

"""The screen: where lines for people and live displays are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as Layout
from rich.text import Text

from plastibench.store.run_store import Store

Words = ParamSpec("Words")


def _harmless(show: Callable[Words, None]) -> Callable[Words, None]:
    """Whatever goes wrong while something is shown, the runs go on: a terminal can be gone any time."""

    @wraps(show)
    def shown(*words: Words.args, **more: Words.kwargs) -> None:
        with suppress(Exception):
            show(*words, **more)

    return shown


class Screen(Console):
    """What is written for people, on stderr; where its reader has gone, runs go on in silence."""

    def on_broken_pipe(self) -> None:
        """Fall silent: rich itself would end the program."""
        self.quiet = True


class Shown:
    """Something that is drawn again and again where there is a terminal, as `__rich__` gives it."""

    def __init__(self, console: Console, refresh_per_second: float) -> None:
        self.console = console
        self.began = time.monotonic()
        self.live = Live(self, console=console, refresh_per_second=refresh_per_second, transient=True)

    def __enter__(self) -> Self:
        """Begin to show, where there is a terminal."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self.console.is_terminal:
            with suppress(OSError):
                self.live.stop()

    def __rich__(self) -> Layout:
        """Return the picture of this moment."""
        raise NotImplementedError


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say_damaged(store: Store, say: Callable[[str], None], then: str) -> None:
    """Name every run file that was met and cannot be believed, and what comes of it."""
    for path, reason in store.damaged.items():
        say(f"run file {path} is damaged ({reason}): {then}")


def say_line(console: Console, line: str) -> None:
    """Print a sentence for people."""
    # As Text: a path or an error with brackets is no markup.
    console.print(Text(line), soft_wrap=True)

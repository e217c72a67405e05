"""The console on stderr, and the base of live displays."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from plastibench.console import can_redraw
from plastibench.system import signals
from plastibench.system.output import plugins_to_stderr

Parameters = ParamSpec("Parameters")


def suppress_errors(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Decorate a function so that it never raises: a terminal that is gone must not stop a run."""

    @wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        with suppress(Exception):
            function(*args, **kwargs)

    return wrapper


class Screen(Console):
    """A console that falls silent if its reader is gone."""

    def on_broken_pipe(self) -> None:
        """Print no more; rich itself would end the program."""
        self.quiet = True


class LiveDisplay:
    """A layout that is redrawn on a terminal while inside; `__rich__` returns it."""

    refresh_per_second: float = 4

    def __init__(self, console: Console) -> None:
        self.console = console
        self.start_time = time.monotonic()
        self.redraws = not console.quiet and can_redraw(console.file)
        """Whether there is a terminal to draw on. A console's own answer is yes if only colors are wanted."""
        self.live = Live(
            get_renderable=self.frame,
            console=console,
            refresh_per_second=self.refresh_per_second,
            transient=True,
        )
        self._output = ExitStack()

    def __enter__(self) -> Self:
        """Start to draw, if there is a terminal. Until the end what plug-ins print goes to stderr."""
        self._output.enter_context(plugins_to_stderr())
        if self.redraws:
            signals.show_stop_in_display(True)
            self.live.start()
        return self

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Remove the drawing."""
        if self.redraws:
            signals.show_stop_in_display(False)
            with suppress(OSError):
                self.live.stop()
        self._output.close()

    def frame(self) -> RenderableType:
        """Return the layout, and that runs stop if the user asked for it."""
        return Group(self, Text(signals.STOP_NOTICE)) if signals.stop_requested() else self

    def __rich__(self) -> RenderableType:
        """Return the layout at this moment."""
        raise NotImplementedError

    def fraction(self) -> float | None:
        """Return which part is done, from 0 to 1; None if that is not known."""
        raise NotImplementedError

    def elapsed(self) -> str:
        """Return the time since the start."""
        return format_duration(time.monotonic() - self.start_time)


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

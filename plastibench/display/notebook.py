"""A live display in a notebook: a bar and lines below it, in one output that is written anew."""

from __future__ import annotations

import threading
from contextlib import suppress
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

if TYPE_CHECKING:
    from plastibench.display.screen import LiveDisplay

INTERVAL = 0.5
"""Seconds between two drawings."""
WIDTH = 110


class NotebookView:
    """Shows a live display while inside; its last state stays in the notebook.

    It needs no widgets, which not every notebook has: the frontend replaces an output by its id.
    """

    def __init__(self, display: LiveDisplay) -> None:
        self.display = display
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def __enter__(self) -> Self:
        """Show it, and draw it again and again."""
        from IPython import display as outputs

        show: Any = outputs.display
        self._handle = show(self, display_id=True)
        self._thread.start()
        return self

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Draw it for the last time."""
        self._ended.set()
        self._thread.join()
        with suppress(Exception):
            self._handle.update(self)

    def _redraw(self) -> None:
        while not self._ended.wait(INTERVAL):
            with suppress(Exception):  # a notebook that is gone must not stop a run
                self._handle.update(self)

    def __repr__(self) -> str:
        console = Console(width=WIDTH, force_jupyter=False, force_terminal=False, no_color=True)
        with console.capture() as capture:
            console.print(self.display)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _repr_html_(self) -> str:
        """Return what the notebook shows."""
        part = self.display.fraction()
        value = "" if part is None else f'max="1" value="{part:.3f}" '
        bar = (
            ""
            if part is None and self._ended.is_set()
            else f'<progress {value}style="width: 100%"></progress>'
        )
        return f'{bar}\n<pre style="margin: 0; white-space: pre-wrap">{escape(repr(self))}</pre>'

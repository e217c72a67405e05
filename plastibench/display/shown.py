"""Progress of the functions of the Python API: in a notebook, on a terminal, or as lines in a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from plastibench.display.messages import messages_shown
from plastibench.display.notebook import NotebookView
from plastibench.display.screen import LiveDisplay, Screen

Display = TypeVar("Display", bound=LiveDisplay)


@contextmanager
def progress_shown(make: Callable[[Screen], Display], wanted: bool | None) -> Iterator[list[Display]]:
    """Yield the display that shows progress while inside, or nothing.

    By default there is one in a notebook and on a terminal. If it is wanted elsewhere, lines are printed.
    """
    screen = Screen(stderr=True)
    display = make(screen)
    is_live = screen.is_jupyter or display.redraws
    if not (is_live if wanted is None else wanted):
        yield []
        return
    view = NotebookView(display) if screen.is_jupyter else display
    with messages_shown(screen, logging.WARNING if is_live else logging.INFO), view:
        yield [display]

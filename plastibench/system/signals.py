"""Requests to stop, and how child processes meet them.

The first Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 lets a run finish its step and save its state.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""SIGUSR1 is what schedulers of clusters are asked to send some time before they end a job."""

GROUP_SIGNALS = tuple(number for number in STOP_SIGNALS if number != signal.SIGTERM)
"""Signals that a terminal or a scheduler sends to a whole group of processes: the parent's to answer."""

STOP_NOTICE = "stopping after this step and saving the state; press Ctrl-C again to stop at once"

_stop = threading.Event()
"""Of the whole process, as signals are."""
_shown = threading.Event()
"""Set while a display shows that runs stop: a line in the middle of it would shift it."""


def stop_requested() -> bool:
    """Return whether runs in this process are to stop."""
    return _stop.is_set()


def request_stop() -> None:
    """Ask the runs in this process to stop at the end of a step."""
    _stop.set()


def announce_stop() -> None:
    """Tell the user that runs stop, if messages are shown: as a library the package is silent."""
    if logger.isEnabledFor(logging.INFO) and not _shown.is_set():
        with suppress(OSError):
            # safe in a signal handler, unlike Python's streams and logging
            os.write(2, f"plastibench: {STOP_NOTICE}\n".encode())


def show_stop_in_display(shown: bool) -> None:
    """Say whether a display shows, from now on, that runs stop."""
    _shown.set() if shown else _shown.clear()


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Take the first stop signal as a request to stop, and the second as an interrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    _stop.clear()
    ignored = signal.SIG_IGN
    before = {s: signal.signal(s, _handle) for s in STOP_SIGNALS if signal.getsignal(s) != ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back the handlers of the stop signals that a library replaces inside, also below Python's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def follow_parent() -> None:
    """Let this worker process stop when it is terminated, and only then: other signals are its parent's."""
    ignore_group_signals()
    signal.signal(signal.SIGTERM, lambda *_: request_stop())


def ignore_group_signals() -> None:
    """Leave the signals of a whole group of processes to the parent, which tells this process what to do."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def send_to_parent(connection: Connection, message: object) -> None:
    """Send a message to the parent process; exit if the parent is gone."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let processes started inside ignore stop signals from their first moment, as they import.

    So does a server that they are forked from: if it died, nobody would know how its processes end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    if _stop.is_set():
        raise KeyboardInterrupt
    _stop.set()
    announce_stop()

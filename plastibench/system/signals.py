"""Requests to stop, and how child processes meet them.

The first Ctrl-C, SIGTERM or SIGHUP lets a run finish its step and save its state.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import FrameType

logger = logging.getLogger(__name__)

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

STOP_NOTICE = (
    b"plastibench: stopping after this step and saving the state; press Ctrl-C again to stop at once\n"
)

_stop = threading.Event()
"""Of the whole process, as signals are."""


def stop_requested() -> bool:
    """Return whether runs in this process are to stop."""
    return _stop.is_set()


def request_stop() -> None:
    """Ask the runs in this process to stop at the end of a step."""
    _stop.set()


def announce_stop() -> None:
    """Tell the user that runs stop, if messages are shown: as a library the package is silent."""
    if logger.isEnabledFor(logging.INFO):
        with suppress(OSError):
            os.write(2, STOP_NOTICE)  # safe in a signal handler, unlike Python's streams and logging


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


def follow_parent() -> None:
    """Let this worker process stop when its parent terminates it, and only then: Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: request_stop())


def send_to_parent(connection: Connection, message: object) -> None:
    """Send a message to the parent process; exit if the parent is gone."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let processes started inside ignore Ctrl-C from their first moment, even while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _handle(number: int, frame: FrameType | None) -> None:
    if _stop.is_set():
        raise KeyboardInterrupt
    _stop.set()
    announce_stop()

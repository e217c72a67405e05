"""Being asked to stop: the first Ctrl-C, SIGTERM or closed terminal lets a run end its step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

SAID = b"plastibench: stopping after this step, to go on later from there; Ctrl-C again stops at once\n"

_asked = threading.Event()
"""Of the process: so are signals."""


def stop_requested() -> bool:
    """Return whether runs in this process are to stop."""
    return _asked.is_set()


def request_stop() -> None:
    """Ask the runs in this process to stop at the end of a step."""
    _asked.set()


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, take the first sign as a wish to stop, and the second as Ctrl-C is taken elsewhere."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    _asked.clear()
    before = {sign: signal.signal(sign, _first) for sign in SIGNS if signal.getsignal(sign) != signal.SIG_IGN}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
        _asked.clear()


def _first(sign: int, frame: FrameType | None) -> None:
    if _asked.is_set():
        raise KeyboardInterrupt
    _asked.set()
    with suppress(OSError):  # not through Python's streams: they may be in the middle of a line
        os.write(2, SAID)

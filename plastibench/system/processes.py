"""Child processes: their messages to the parent, and their start."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


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

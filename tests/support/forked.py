"""Programs forked from a process that has imported torch already, which takes most of a small run's time.

Each is a process of its own: it can be killed, limited, and have a session and a core of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from plastibench.system.signals import STOP_SIGNALS
from support import fault_program


class ForkedProgram:
    """A function in a process of its own, with what is needed of the interface of `subprocess.Popen`."""

    def __init__(self, function: Callable[..., object], *args: Any, start_new_session: bool = False) -> None:
        """Start it; the function must be importable, and a SystemExit that it raises sets the status."""
        descriptor, name = tempfile.mkstemp(prefix="plastibench-stderr-")
        os.close(descriptor)
        self._stderr = Path(name)
        words = (name, dict(os.environ), start_new_session, function, args)
        self._process: BaseProcess = _server().Process(target=_run, args=words)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, or None while the process lives."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while the process lives."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self._process.kill()

    def send_signal(self, sign: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, sign)

    def said(self) -> str:
        """Return what was written to stderr so far."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Wait for the end; return what was written to stderr. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired("a forked program", timeout or 0.0)
        if self._stderr.exists():
            self._said = self.said()
            self._stderr.unlink()
        return None, self._said


@cache
def _server() -> ForkServerContext:
    """Start the process to fork from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.imported_once"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # before Python 3.13 it gets no path otherwise
        forkserver.ensure_running()
    return context


def forked_command(*words: object, start_new_session: bool = False) -> ForkedProgram:
    """Start the command line in a process of its own."""
    arguments = [json.dumps({"alone": False}), *map(str, words)]
    return ForkedProgram(fault_program.main, arguments, start_new_session=start_new_session)


def _run(
    stderr: str,
    environment: dict[str, str],
    new_session: bool,
    function: Callable[..., object],
    args: tuple[Any, ...],
) -> None:
    for path, descriptor in ((os.devnull, 1), (stderr, 2)):
        opened = os.open(path, os.O_WRONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    if new_session:
        os.setsid()
    for number in STOP_SIGNALS:  # the server that this process is forked from may ignore them
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    function(*args)

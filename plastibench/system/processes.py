"""Child processes that do not execute the user's main module again, so that scripts need no main guard.

Python's own spawned processes begin by executing the script that started them, to unpickle what it defines.
Ours need nothing of it: plug-ins travel as source.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from plastibench.errors import RequestError
from plastibench.system.signals import STOP_SIGNALS, interrupts_ignored

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

ProcessContext: TypeAlias = "ForkServerContext | SpawnContext"
"""How to start processes."""

_LOCK = threading.Lock()


class _SpawnedProcess(SpawnProcess):
    """A process that starts from nothing."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802, ANN401 - as multiprocessing has it
        with _main_hidden():
            return SpawnProcess._Popen(process)


class _SpawnContext(SpawnContext):
    Process = _SpawnedProcess


def spawn_context() -> SpawnContext:
    """Return a context whose processes start from nothing. What is sent to them must be importable."""
    return _SpawnContext()


if sys.platform != "win32":
    from functools import cache
    from multiprocessing import forkserver, resource_tracker
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    @cache
    def _start_server(parent: int) -> None:
        """Start the server, and what tracks its semaphores, so that no stop signal ever ends them.

        A scheduler sends such signals to all processes of a job. Processes that are forked from the server
        ignore them, too, until they say otherwise.
        """
        with interrupts_ignored():
            forkserver.ensure_running()
            resource_tracker.ensure_running()

    class _ForkedProcess(ForkServerProcess):
        """A process that is forked from a server, which has imported no main module either.

        The server may have been started long before, so the environment of now is sent with the process.
        """

        def start(self) -> None:
            self._environment = dict(os.environ)
            _start_server(os.getpid())
            super().start()

        def run(self) -> None:
            os.environ.clear()
            os.environ.update(self._environment)
            super().run()

        @staticmethod
        def _Popen(process: BaseProcess) -> Any:  # noqa: N802, ANN401 - as multiprocessing has it
            with _main_hidden():
                return ForkServerProcess._Popen(process)

    class _ForkServerContext(ForkServerContext):
        Process = _ForkedProcess

    class _HelperProcess(_ForkedProcess):
        @staticmethod
        def _Popen(process: BaseProcess) -> Any:  # noqa: N802, ANN401 - as multiprocessing has it
            popen = _ForkedProcess._Popen(process)
            popen.terminate = popen.kill  # it would ignore a request to end, also when this process exits
            return popen

    class _HelperContext(ForkServerContext):
        Process = _HelperProcess


def forkserver_context(preload: list[str]) -> ProcessContext:
    """Return a context whose processes are forked from a server that has imported modules by name.

    This process has one server: the first process that is started decides what it imports. On Windows
    processes are spawned.
    """
    if sys.platform == "win32":
        return spawn_context()
    context = _ForkServerContext()
    context.set_forkserver_preload(preload)
    return context


def helper_context(preload: list[str]) -> ProcessContext:
    """Return a context as `forkserver_context` does, for processes that call `serve_parent_alone`."""
    if sys.platform == "win32":
        return spawn_context()
    context = _HelperContext()
    context.set_forkserver_preload(preload)
    _start_server(os.getpid())  # a queue of the context would start the tracker unprotected
    return context


def serve_parent_alone() -> None:
    """Let this process leave stop signals to its parent, and end as soon as its parent has ended.

    Otherwise a signal to the whole group would end it while the parent still needs it, and a parent that is
    killed would leave it behind: the server that it was forked from lives as long as it does.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    exit_with_parent()


def exit_with_parent() -> None:
    """Let this process end, wherever it is, as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process has been started by another one"

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def check_can_start(what: str) -> None:
    """Raise RequestError if this process must not start others; `what` is what the user asked for."""
    process = multiprocessing.current_process()
    if process.daemon:
        raise RequestError(
            f"{what} is not allowed in a worker of multiprocessing.Pool or another daemonic process, which "
            "cannot start processes: call it in the main process, or use jobs=1 without MLflow"
        )
    if getattr(process, "_inheriting", False):
        raise RequestError(
            f"{what} is not allowed here: a process that your script started is executing it from the top; "
            'put the call under if __name__ == "__main__": or use jobs=1'
        )


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Let a process that is started inside find an empty main module."""
    with _LOCK:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main

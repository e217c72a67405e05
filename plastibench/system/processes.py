"""Child processes that do not execute the user's main module again, so that scripts need no main guard.

Python's own spawned processes begin by executing the script that started them, to unpickle what it defines.
Ours need nothing of it: plug-ins travel as source.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from plastibench.errors import RequestError

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
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    class _ForkedProcess(ForkServerProcess):
        """A process that is forked from a server, which has imported no main module either.

        The server may have been started long before, so the environment of now is sent with the process.
        """

        def start(self) -> None:
            self._environment = dict(os.environ)
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

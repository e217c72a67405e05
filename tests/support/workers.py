"""What keeps the processes of a parallel test run (pytest-xdist's workers) out of each other's way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

SANDBOX = "PLASTIBENCH_TEST_SANDBOX"
"""The variable that names the folder in which programs under test find their home and caches."""
FIRST_PORT, NUM_PORTS = 20_000, 500
"""Each worker has ports of its own, below those that the kernel gives to outgoing connections."""


def worker_number() -> int:
    """Return the number of this worker of pytest-xdist, or 0."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def one_core() -> set[int]:
    """Return a core that this process may use; workers take different ones."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[worker_number() % len(cores)]}


def free_port() -> int:
    """Return a port that no process is listening on."""
    first = FIRST_PORT + worker_number() * NUM_PORTS
    for port in range(first, first + NUM_PORTS):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {first} to {first + NUM_PORTS - 1}")


def enter_sandbox() -> Callable[[], None]:
    """Point homes and caches at a temporary folder, not at the user's; return what removes it."""
    if SANDBOX in os.environ:  # the process that started this one has done so, and removes it
        return lambda: None
    folder = tempfile.mkdtemp(prefix="plastibench-tests-")
    # A hundred programs are started: each would compile the package again, and pytest all tests.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ |= {
        SANDBOX: folder,
        "PLASTIBENCH_HOME": f"{folder}/home",
        "XDG_CACHE_HOME": f"{folder}/cache",
        "XDG_CONFIG_HOME": f"{folder}/config",
        "XDG_DATA_HOME": f"{folder}/data",
        "MPLCONFIGDIR": f"{folder}/matplotlib",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",  # several threads on one core would spin
    }
    return partial(shutil.rmtree, folder, ignore_errors=True)


def once(name: str, make: Callable[[], Any]) -> Any:
    """Return what `make` returns, which is made by one worker for all of them; it must survive JSON."""
    path = Path(os.environ[SANDBOX]) / f"{name}.json"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            path.write_text(json.dumps(make()), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))


def heed_interrupts() -> None:
    """Let child processes end on Ctrl-C, although a shell's background job is started with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

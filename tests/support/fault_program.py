"""The command line with an injected fault, on one core so that its bits are reproducible.

The first argument is JSON. `kill` and `at`: SIGKILL the `at`-th time that a file with one of the names of
`kill` in its path is about to be opened, moved or removed. `largest`: a limit on the size of every file.
`without_root`: respect file permissions although the user is root. `lockless`: locks have no effect, as on
a network file system without them. `alone`: false to use all cores.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

TOUCHING = ("open", "os.rename", "os.remove", "sqlite3.connect")
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def kill_at(names: list[str], at: int) -> None:
    """Kill this process the `at`-th time that it touches a file with one of `names` in its path."""
    left = at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in TOUCHING and any(name in str(arguments[0]) for name in names):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def drop_root(words: list[str]) -> None:
    """Restart this program without root's permission to write everywhere."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
    fault = {**json.loads(words[0]), "without_root": False}
    os.execv(sys.executable, [sys.executable, __file__, json.dumps(fault), *words[1:]])


def main(words: list[str]) -> None:
    """Inject the fault of the first argument and run the command line with the others."""
    fault = json.loads(words[0])
    if fault.get("without_root"):
        drop_root(words)
    if fault.get("alone", True) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    if fault.get("lockless"):
        fcntl.flock = lambda *_: None
    if "largest" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["largest"], fault["largest"]))
    if "kill" in fault:
        kill_at(fault["kill"], fault["at"])
    sys.argv = ["plastibench", *words[1:]]
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the package need not be installed
    from plastibench.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main(sys.argv[1:])

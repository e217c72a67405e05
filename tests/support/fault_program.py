"""The command line as a process that is to meet a fault: on one core, so that its bits are everybody's.

Its first word is JSON: `kill` and `at` end it by SIGKILL the `at`-th time that it is about to open, move or
remove a file with one of the words of `kill` in its path; `largest` is a limit on every file it writes;
`mortal` takes root's right to write what may not be written; `lockless` makes locks hold nobody off, as on a
network file system that does not pass them on.
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


def kill_at(words: list[str], at: int) -> None:
    """Count what touches such files, and die at one of these moments."""
    left = at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in TOUCHING and any(word in str(arguments[0]) for word in words):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def become_mortal() -> None:
    """Start this program again without root's right to write everywhere."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
    fault = {**json.loads(sys.argv[1]), "mortal": False}
    os.execv(sys.executable, [sys.executable, __file__, json.dumps(fault), *sys.argv[2:]])


def main() -> None:
    """Take the fault from the first word, and be the command line with the others."""
    fault = json.loads(sys.argv[1])
    if fault.get("mortal"):
        become_mortal()
    if fault.get("alone", True) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    if fault.get("lockless"):
        fcntl.flock = lambda *_: None
    if "largest" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["largest"], fault["largest"]))
    if "kill" in fault:
        kill_at(fault["kill"], fault["at"])
    sys.argv = ["plastibench", *sys.argv[2:]]
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the package need not be installed
    from plastibench.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()

"""Processes that work for another one speak to it, and do not outlive it."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import Pipe

from plastibench.runner.executors.messages import tell

NOBODY = """
from multiprocessing import Pipe
from plastibench.runner.executors.messages import tell
ours, theirs = Pipe()
theirs.close()
tell(ours, "alive", 1)
print("still at work")
"""


def test_what_is_told_is_heard() -> None:
    ours, theirs = Pipe()
    tell(ours, "finished", {"seed": 3})
    assert theirs.recv() == ("finished", {"seed": 3})


def test_a_process_to_which_nobody_listens_ends_in_silence() -> None:
    done = subprocess.run([sys.executable, "-c", NOBODY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")

"""Helper processes leave signals to their parent, and neither outlive it nor keep it from ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plastibench.system.signals import STOP_SIGNALS

TESTS = Path(__file__).parents[1]
SERVERS = 2
"""Processes beside the helper: the server that forks, and what tracks its semaphores."""

Program = subprocess.Popen[str]


@pytest.fixture
def program() -> Iterator[Program]:
    """A program with a helper, in a session of its own."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    words = [sys.executable, "-c", "from support.helped_program import main; main()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, start_new_session=True, **pipes)  # type: ignore[call-overload]
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def told(program: Program, line: str = "") -> str:
    """Send a line unless it is empty, and return the answer."""
    assert program.stdin is not None
    assert program.stdout is not None
    if line:
        program.stdin.write(line)
    return program.stdout.readline().strip()


def living(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return [int(pid) for pid, of, state in rows if int(of) == group and not state.startswith("Z")]


def ends(group: int) -> bool:
    """Return whether all processes of a group end within seconds."""
    limit = time.monotonic() + 20
    while living(group) and time.monotonic() < limit:
        time.sleep(0.05)
    return not living(group)


def test_a_helper_outlives_signals_to_the_whole_group_but_not_its_parent(program: Program) -> None:
    helper = int(told(program))
    for number in STOP_SIGNALS:
        os.killpg(program.pid, number)
    time.sleep(0.2)
    assert told(program, "how are you?\n") == f"{len(STOP_SIGNALS)} 1"
    assert len(living(program.pid)) == 2 + SERVERS
    assert helper in living(program.pid)
    program.kill()
    program.wait()
    assert ends(program.pid)


def test_a_helper_does_not_keep_its_parent_from_ending(program: Program) -> None:
    told(program)
    told(program, "how are you?\n")
    assert program.stdin is not None
    program.stdin.write("end\n")
    assert program.wait(20) == 0
    assert ends(program.pid)

"""Locks between processes: exclusive, released however the holder ends, safe to remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.commands import child

from plastibench.system.locks import file_lock, is_locked

HOLD = """
import os, sys, time
from pathlib import Path
from plastibench.system.locks import file_lock
with file_lock(Path(sys.argv[1])):
    if sys.argv[2:] == ["fork"] and not os.fork():
        time.sleep(600)
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def other_process(path: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the lock in another process, which is killed at the end."""
    command = [sys.executable, "-c", HOLD, str(path), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_lock_is_released_however_its_process_ends(sign: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with other_process(path) as holder:
        assert is_locked(path)
        with pytest.raises(BlockingIOError), file_lock(path, wait=False):
            pass
        holder.send_signal(sign)
        holder.wait()
        assert not is_locked(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_child_of_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with other_process(tmp_path / "lock", "fork") as holder:
        assert is_locked(tmp_path / "lock")
        holder.kill()
        holder.wait()
        end = time.monotonic() + 10  # its child lives for longer, and may just have been forked
        while is_locked(tmp_path / "lock"):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_lock_of_a_dead_process_is_waited_for(tmp_path: Path) -> None:
    with other_process(tmp_path / "lock") as holder:
        timer = threading.Timer(0.3, holder.kill)
        start = time.perf_counter()
        timer.start()
        with file_lock(tmp_path / "lock"):
            assert time.perf_counter() - start > 0.2


def test_holder_may_remove_the_file_while_others_wait(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with file_lock(path, remove=True):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_content_of_a_lock_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")
    with file_lock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == "mine"
    assert (tmp_path / "lock").read_text() == "mine"


def test_unlocked_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_command_line_starts_without_filelock() -> None:
    program = "import sys, plastibench.cli.main, plastibench.system.locks; print('filelock' in sys.modules)"
    assert child("-c", program).stdout == "False\n"

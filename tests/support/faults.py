"""Support of the fault suite: small real runs, processes with faults, the bits that runs must end with."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.run_store import Store
from support import fault_program
from support.commands import CommandResult, command
from support.forked import ForkedProgram

SIZE = tuple(
    word
    for pair in ("stages=3", "max_epochs=3", "target_accuracy=none", "width=4", "train_size=130")
    for word in ("--set", pair)
)
"""Settings of a run of 45 steps, which takes half a second."""

METHODS = tuple(Registry().names("method"))
OPTIMIZERS = ("sgd", "sam")
Trial = Callable[[str], AbstractContextManager[None]]
"""Takes the name of a fault; the fault is survived if the context is left without an exception."""

TIMEOUT_SECONDS = 300.0
NEEDS_A_NEW_PROGRAM = {"without_root"}
"""Faults that replace the program, which would throw away what was imported."""


def grid(method: str, optimizer: str = "sgd", seeds: int = 1) -> tuple[str, ...]:
    """Return the arguments that request runs of a method, with a checkpoint after every step."""
    command_line = ("--method", method, "--set", f"optimizer={optimizer}", "--seeds", str(seeds))
    return (*command_line, *SIZE, "--checkpoint-interval", "0")


def run(home: Path, *args: str, mirrored: bool = False) -> CommandResult:
    """Run a grid in this process without faults."""
    return command("run", "--home", home, *(() if mirrored else ("--no-mlflow",)), *args)


Program = subprocess.Popen[str] | ForkedProgram


def start_with_fault(
    fault: dict[str, object],
    *args: object,
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
) -> Program:
    """Start the command line in a process with a fault."""
    words = [json.dumps(fault), *map(str, args)]
    if env is None and not NEEDS_A_NEW_PROGRAM.intersection(fault):
        return ForkedProgram(fault_program.main, words, start_new_session=start_new_session)
    return subprocess.Popen(
        [sys.executable, fault_program.__file__, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=start_new_session,
    )


def wait_for_exit(process: Program) -> tuple[int, str]:
    """Wait for the end of a process; return its status and stderr. Fails if it hangs."""
    try:
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        process.kill()
    assert "Traceback" not in stderr, stderr
    assert process.returncode is not None
    return process.returncode, stderr


ResultT = TypeVar("ResultT")


def wait_for(condition: Callable[[], ResultT], process: Program) -> ResultT:
    """Wait until a condition holds or the process has ended; return the last result of the condition."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        over = process.poll() is not None
        found = condition()
        if found or over:
            return found
        assert time.monotonic() < end, "timed out"
        time.sleep(0.002)


@cache
def undisturbed(args: tuple[str, ...]) -> dict[str, Record]:
    """Return the records of a grid that ran without faults, by id."""
    home = Path(mkdtemp(prefix="plastibench-undisturbed-"))
    answer = run(home, *args)
    assert answer.status == 0, answer.err
    return {record.id: record for record in Store(home).records()}


def same_as_undisturbed(home: Path, args: tuple[str, ...]) -> None:
    """Check that the home has every run of a grid once, with the weights and rows of a run without faults."""
    store, expected = Store(home), undisturbed(args)
    found = {record.id: record for record in store.records()}
    assert store.damaged == {}
    assert found.keys() == expected.keys()
    for run_id, record in found.items():
        assert record.provenance["weights"] == expected[run_id].provenance["weights"]
        assert list(differences(expected[run_id], record, ("undisturbed", "after the fault"))) == []


def records_are_correct(home: Path, args: tuple[str, ...]) -> None:
    """Check that every record equals that of a run without faults, number for number."""
    expected = undisturbed(args)
    for record in Store(home).records():
        assert list(differences(expected[record.id], record, ("undisturbed", "after the fault"))) == []


def run_completes(home: Path, args: tuple[str, ...], *, mirrored: bool = False) -> CommandResult:
    """Repeat the command without a fault; check that it completes every run correctly."""
    records_are_correct(home, args)
    answer = run(home, *args, mirrored=mirrored)
    assert answer.status == 0, answer.err
    same_as_undisturbed(home, args)
    return answer


def starts(home: Path) -> int:
    """Return how often runs were started or resumed."""
    found = (path.read_text(encoding="utf-8") for path in home.rglob("events.jsonl"))
    return sum(text.count('"event":"start"') for text in found)


def run_files(home: Path, name: str) -> list[Path]:
    """Return the files of that name, one for each run."""
    return sorted(home.glob(f"runs/??/*/{name}"))


@contextmanager
def mounted_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of `size` and yield a function that resizes it; skip if mounting is not allowed."""
    import pytest

    folder.mkdir(parents=True, exist_ok=True)
    mounted = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    if mounted is not None:
        pytest.skip(f"no file system can be mounted here: {mounted}")

    def resize(size: str) -> None:
        assert _mount("-o", f"remount,size={size}", folder) is None

    try:
        yield resize
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*args: object) -> str | None:
    """Mount; return the error, or None."""
    try:
        done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def processes_below(parent: int) -> Iterable[int]:
    """Yield the children of a process, and theirs: workers are forked from a server."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from processes_below(child)


def process_with_lock(home: Path, parent: int) -> int | None:
    """Return a process below `parent` that executes a run, or None."""
    children = set(processes_below(parent))
    for path in run_files(home, "run.lock"):
        try:
            process = int(json.loads(path.read_text())["process"])
        except (OSError, ValueError):
            continue
        if process in children:
            return process
    return None


def is_root() -> bool:
    """Return whether this process has root's permissions."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def mirrored_runs(database: Path) -> list[str]:
    """Return the ids of the finished runs in an MLflow database, with duplicates."""
    query = (
        "SELECT tags.value FROM tags JOIN runs USING (run_uuid) WHERE tags.key = 'run_id' "
        "AND runs.lifecycle_stage = 'active' AND runs.status = 'FINISHED' ORDER BY 1"
    )
    with closing(sqlite3.connect(database)) as store:
        return [run for (run,) in store.execute(query)]

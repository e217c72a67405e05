"""What the fault suite shares: small real runs, processes that meet faults, the bits they must end with."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.run_store import Store
from support.commands import CommandResult, command

SIZE = tuple(
    word
    for pair in ("stages=3", "max_epochs=3", "target_accuracy=none", "width=4", "train_size=130")
    for word in ("--set", pair)
)
"""Settings of a run of half a second, of 45 steps."""

METHODS = tuple(Registry().names("method"))
OPTIMIZERS = ("sgd", "sam")
Trial = Callable[[str], AbstractContextManager[None]]
"""Takes the name of a fault; whoever leaves the context as usual has survived it."""

PATIENCE_SECONDS = 300.0


def grid(method: str, optimizer: str = "sgd", seeds: int = 1) -> tuple[str, ...]:
    """Return the words that ask for runs of a method, with a checkpoint after every step."""
    asked = ("--method", method, "--set", f"optimizer={optimizer}", "--seeds", str(seeds))
    return (*asked, *SIZE, "--checkpoint-interval", "0")


def run(home: Path, *words: str, mirrored: bool = False) -> CommandResult:
    """Carry out a grid in this process, undisturbed."""
    return command("run", "--home", home, *(() if mirrored else ("--no-mlflow",)), *words)


def doomed(fault: dict[str, object], *words: object, **more: object) -> subprocess.Popen[str]:
    """Start the command line in a process that is to meet a fault."""
    program = Path(__file__).with_name("fault_program.py")
    asked = [sys.executable, str(program), json.dumps(fault), *map(str, words)]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a process; return its status and what it said. A hang is an error."""
    try:
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert "Traceback" not in said, said
    return process.returncode, said


Found = TypeVar("Found")


def wait_for(there: Callable[[], Found], process: subprocess.Popen[str]) -> Found:
    """Wait until something is found, or the process has ended; return what was found last."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        over = process.poll() is not None
        found = there()
        if found or over:
            return found
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


@cache
def undisturbed(words: tuple[str, ...]) -> dict[str, Record]:
    """Return the records of a grid that nothing happened to, by id."""
    home = Path(mkdtemp(prefix="plastibench-undisturbed-"))
    answer = run(home, *words)
    assert answer.status == 0, answer.err
    return {record.id: record for record in Store(home).records()}


def same_as_undisturbed(home: Path, words: tuple[str, ...]) -> None:
    """The home holds the runs of a grid, each once, with the weights and rows of a run without faults."""
    store, expected = Store(home), undisturbed(words)
    found = {record.id: record for record in store.records()}
    assert store.damaged == {}
    assert found.keys() == expected.keys()
    for run_id, record in found.items():
        assert record.provenance["weights"] == expected[run_id].provenance["weights"]
        assert list(differences(expected[run_id], record, ("undisturbed", "after the fault"))) == []


def none_is_invented(home: Path, words: tuple[str, ...]) -> None:
    """What a fault let finish is true: every record is one of the undisturbed grid's, number for number."""
    expected = undisturbed(words)
    for record in Store(home).records():
        assert list(differences(expected[record.id], record, ("undisturbed", "after the fault"))) == []


def goes_on(home: Path, words: tuple[str, ...], *, mirrored: bool = False) -> CommandResult:
    """Give the same command again, without a fault: now everything is there, and true."""
    none_is_invented(home, words)
    answer = run(home, *words, mirrored=mirrored)
    assert answer.status == 0, answer.err
    same_as_undisturbed(home, words)
    return answer


def starts(home: Path) -> int:
    """Return how often a run was begun or gone on with."""
    found = (path.read_text(encoding="utf-8") for path in home.rglob("events.jsonl"))
    return sum(text.count('"event":"start"') for text in found)


def run_files(home: Path, name: str) -> list[Path]:
    """Return the files of that name, one for each run."""
    return sorted(home.glob(f"runs/??/*/{name}"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of `size`, which what is yielded changes. Skips without the right to mount."""
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


def _mount(*words: object) -> str | None:
    """Mount; return what was said against it."""
    try:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def processes_below(parent: int) -> Iterable[int]:
    """Yield the children of a process."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def process_with_lock(home: Path, parent: int) -> int | None:
    """Return a child of `parent` that executes a run, or None."""
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
    """Return whether this process may do everything."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def empty_database(folder: Path) -> bytes:
    """Return the content of a store of MLflow without runs."""
    from mlflow import MlflowClient

    path = folder / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


def mirrored_runs(database: Path) -> list[str]:
    """Return the ids of the runs that a store of MLflow has whole, a run that is there twice twice."""
    query = (
        "SELECT tags.value FROM tags JOIN runs USING (run_uuid) WHERE tags.key = 'run_id' "
        "AND runs.lifecycle_stage = 'active' AND runs.status = 'FINISHED' ORDER BY 1"
    )
    with closing(sqlite3.connect(database)) as store:
        return [run for (run,) in store.execute(query)]

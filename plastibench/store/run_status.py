"""Locks and status of runs: processes that share a home folder do nothing twice and wait for no dead one.

A run is locked with a lock of the operating system on a file in its folder. The system releases it when the
process ends, however it ends; no clock is involved. The same holds on a network file system that supports
such locks, such as NFS 4, Lustre and CephFS.
"""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plastibench.errors import unknown
from plastibench.experiments.spec import Spec
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE, read_failure
from plastibench.system.locks import file_lock, is_locked

LOCK_FILE = "run.lock"

State = Literal["queued", "running", "stopped", "failed", "done", "diverged", "damaged"]
"""A stopped run was started and is not running, perhaps because its process died; `run` resumes it."""


class RunLockedError(Exception):
    """Another process is running this run; the message is its name."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock a run. Raises RunLockedError if another process has locked it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, wait=False, remove=True))
        except BlockingIOError as error:
            raise RunLockedError(lock_holder(folder) or "another process") from error
        with suppress(OSError):  # a full disk, or Windows: the lock works without a name
            path.write_text(json.dumps({"host": platform.node(), "process": os.getpid()}), encoding="utf-8")
        yield


def lock_holder(folder: Path) -> str | None:
    """Return the name of the process that locked a run, or None if no lock file names one."""
    try:
        fields = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        return f"process {fields['process']} on {fields['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class RunStatus:
    """The status of one run."""

    run: str
    name: str
    state: State
    stages: int
    """Number of stages that have been written."""
    detail: str = ""
    """The process that is running it, or why it failed."""


def started_specs(store: Store, ids: Sequence[str] = ()) -> list[Spec]:
    """Return the specs of all runs that were ever asked for, or of those whose ids start with one of `ids`.

    Damaged ones are noted in the store. Raises RequestError if there is no such run.
    """
    specs: dict[str, Spec] = {}
    for path in sorted(store.home.glob("runs/??/*/spec.json")):
        spec = _read_spec(path) or _recorded_spec(store, path.parent.name)
        if spec is None:
            store.damaged.setdefault(path, "it is not the description of this run")
        else:
            specs[spec.id] = spec
    for prefix in ids:
        if not prefix or not any(run.startswith(prefix) for run in specs):
            raise unknown("run", prefix, list(specs)[:20])
    return [spec for run, spec in specs.items() if not ids or run.startswith(tuple(ids))]


def _read_spec(path: Path) -> Spec | None:
    """Return the spec in a spec.json, or None if it is damaged or that of another run."""
    try:
        spec = Spec.from_dict(json.loads(path.read_text(encoding="utf-8")))
        return spec if spec.id == path.parent.name else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _recorded_spec(store: Store, run: str) -> Spec | None:
    """Return the spec in the record of a finished run."""
    record = store.read(run)
    return None if record is None else record.spec


def damaged_statuses(store: Store) -> list[RunStatus]:
    """Return the runs whose specs `started_specs` found damaged; starting them again repairs them."""
    return [
        RunStatus(path.parent.name, "?", "damaged", _count_stages(path.parent), f"{path}: {reason}")
        for path, reason in store.damaged.items()
        if path.name == "spec.json"
    ]


def get_status(store: Store, spec: Spec, name: str) -> RunStatus:
    """Return the current status of a run."""
    folder, record = store.folder(spec.id), store.read(spec.id)
    if record is not None:
        state: State = "diverged" if record.status == "diverged" else "done"
        return RunStatus(spec.id, name, state, len(record.stages))
    state, detail = _unfinished_state(store, folder)
    return RunStatus(spec.id, name, state, _count_stages(folder), detail)


def _unfinished_state(store: Store, folder: Path) -> tuple[State, str]:
    """Return the state of an unfinished run, with details."""
    process = lock_holder(folder)  # before the lock is tried, which removes the file if nobody holds it
    if is_locked(folder / LOCK_FILE):
        return "running", process or ""
    if folder / "run.json" in store.damaged:
        return "damaged", store.damaged[folder / "run.json"]
    reason = _failure(folder)
    if reason is not None:
        return "failed", reason
    started = (
        _count_stages(folder)
        or Checkpoint(folder, folder.name).exists()
        or (folder / "events.jsonl").exists()
    )
    return "stopped" if started else "queued", ""


def _failure(folder: Path) -> str | None:
    if not (folder / FAILURE_FILE).exists():
        return None
    return str(read_failure(folder).get("error", "the reason cannot be read")).partition("\n")[0]


def _count_stages(folder: Path) -> int:
    try:
        return (folder / "stages.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0

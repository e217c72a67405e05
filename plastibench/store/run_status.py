"""Who is at which run: processes that share a home folder do nothing twice, and none waits for the dead.

A run is claimed by a lock of the operating system on a file in its folder. The system drops the lock
when the process ends, however it ends, and no clock plays a part. On a network file system the same
holds where the system passes locks on (NFS 4, Lustre, CephFS do).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from plastibench.errors import unknown
from plastibench.experiments.spec import Spec
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE
from plastibench.system.locks import file_lock, is_locked

LOCK_FILE = "run.lock"

State = Literal["queued", "running", "stopped", "failed", "done", "diverged", "damaged"]
"""Stopped: begun, by nobody now; a process that died leaves that, too. The next `run` goes on with it."""


class RunLockedError(Exception):
    """Another process is at this run."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock a run. Raises RunLockedError with the holder's name if another process has locked it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, wait=False, remove=True))
        except BlockingIOError as error:
            raise RunLockedError(holder(folder) or "another process") from error
        with suppress(OSError):  # a full disk, or Windows: the lock itself must do
            path.write_text(json.dumps({"host": platform.node(), "process": os.getpid()}), encoding="utf-8")
        yield


def holder(folder: Path) -> str | None:
    """Return the name of the process that claimed a run; None where there is no claim."""
    try:
        plain = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        return f"process {plain['process']} on {plain['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class RunStatus:
    """How one run stands."""

    run: str
    name: str
    state: State
    stages: int
    """Stages that are on the disk."""
    about: str
    """Who is at it, or why it failed; empty where there is nothing to say."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def started_specs(store: Store, ids: Sequence[str] = ()) -> list[Spec]:
    """Return the descriptions of all runs that were ever begun here, or of those named by id.

    Each of `ids` is an id or the beginning of one. Raises RequestError where there is no such run.
    """
    found: dict[str, Spec] = {}
    for path in sorted(store.home.glob("runs/??/*/spec.json")):
        spec = _described(path) or _recorded(store, path.parent.name)
        if spec is None:
            store.damaged.setdefault(path, "it is not the description of this run")
        else:
            found[spec.id] = spec
    for text in ids:
        if not text or not any(run.startswith(text) for run in found):
            raise unknown("run", text, list(found)[:20])
    return [spec for run, spec in found.items() if not ids or run.startswith(tuple(ids))]


def _described(path: Path) -> Spec | None:
    """Return the run that the spec.json at `path` describes; None where it is damaged or another's."""
    try:
        spec = Spec.from_dict(json.loads(path.read_text(encoding="utf-8")))
        return spec if spec.id == path.parent.name else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _recorded(store: Store, run: str) -> Spec | None:
    """Return the description that a finished run has in its record, too."""
    record = store.read(run)
    return None if record is None else record.spec


def damaged_statuses(store: Store) -> list[RunStatus]:
    """Return the runs that `begun` met whose description is damaged: the command that began them mends it."""
    return [
        RunStatus(
            path.parent.name, "?", "damaged", _lines(path.with_name("stages.jsonl")), f"{path}: {reason}"
        )
        for path, reason in store.damaged.items()
        if path.name == "spec.json"
    ]


def get_status(store: Store, spec: Spec, name: str) -> RunStatus:
    """Return how a run stands at this moment."""
    folder = store.folder(spec.id)
    record = store.read(spec.id)
    if record is not None:
        return RunStatus(spec.id, name, _ended(record.status), len(record.stages), "")
    stages, about = _lines(folder / "stages.jsonl"), holder(folder)
    if is_locked(folder / LOCK_FILE):
        return RunStatus(spec.id, name, "running", stages, about or "")
    if folder / "run.json" in store.damaged:
        return RunStatus(spec.id, name, "damaged", stages, store.damaged[folder / "run.json"])
    reason = _failure(folder)
    if reason is not None:
        return RunStatus(spec.id, name, "failed", stages, reason)
    started = stages > 0 or Checkpoint(folder, spec.id).exists() or (folder / "events.jsonl").exists()
    return RunStatus(spec.id, name, "stopped" if started else "queued", stages, "")


def _ended(status: str) -> State:
    return "diverged" if status == "diverged" else "done"


def _failure(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8"))["error"]).partition("\n")[
            0
        ]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "the reason cannot be read"


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0

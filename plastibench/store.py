"""Runs on disk: one folder a run, stages appended as they end, run.json written last and atomically."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from plastibench.errors import RequestError
from plastibench.outcome import Outcome, whole_cost
from plastibench.spec import Spec, canonical

HOME_VARIABLE = "PLASTIBENCH_HOME"
DEFAULT_HOME = "plastibench-home"
STATUSES = ("done", "diverged")
WORDS = ("stop", "data")
"""Fields of a row that are text; all others are numbers, or None."""
FAILURE = "failed.json"
"""Why the last attempt failed; not there while one is under way."""


@dataclass(frozen=True)
class Record:
    """A finished run."""

    spec: Spec
    status: str
    """done or diverged."""
    stages: list[dict[str, Any]]
    """One row a stage: the fields of a StageResult."""
    provenance: dict[str, Any]
    """Versions, commit, device, host, data checksum, when, how many attempts."""

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.spec.id

    def known_as(self, **more: object) -> Record:
        """Return the same with more in its provenance."""
        return replace(self, provenance={**self.provenance, **more})

    @cached_property
    def setting_id(self) -> str:
        """Return what it has in common with the runs that it may be compared with."""
        return self.spec.setting_id()

    @cached_property
    def hardware(self) -> str:
        """Return the device and the number of threads, which seconds depend on."""
        return hardware(self.provenance)

    @cached_property
    def outcome(self) -> Outcome:
        """Return the accuracies and sums of a run that was tested: not of a sealed one."""
        return Outcome(
            seed=self.spec.seed,
            accuracies=tuple(100 * float(stage["test_accuracy"]) for stage in self.stages),
            steps=tuple(stage["steps"] for stage in self.stages),
            passes=tuple(stage["train_passes"] + stage["remedy_passes"] for stage in self.stages),
            cost=whole_cost(self.stages),
            hardware=self.hardware,
        )


def hardware(provenance: Mapping[str, Any]) -> str:
    """Return the device and the number of threads that a record's provenance names."""
    threads = provenance.get("threads")
    return f"{provenance.get('device')}" + (f", {threads} threads" if threads else "")


class Store:
    """The runs under a home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.damaged: dict[Path, str] = {}
        """Run files met so far that cannot be believed, each with the reason: they count as not finished."""

    def prepare(self) -> None:
        """Make the folders. Raises RequestError where that is not possible."""
        try:
            (self.home / "runs").mkdir(parents=True, exist_ok=True)
            probe = self.home / "runs" / f".writable-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise RequestError(
                f"home {self.home} cannot be written: {error.strerror} "
                f"(choose another with --home or {HOME_VARIABLE})"
            ) from error

    def folder(self, run: str) -> Path:
        """Return the folder of a run by its id."""
        return self.home / "runs" / run[:2] / run

    def read(self, run: str) -> Record | None:
        """Return a finished run, or None where there is none or its file is damaged."""
        found = self.load(run)
        return None if found is None else found[0]

    def load(self, run: str) -> tuple[Record, str] | None:
        """Return a finished run with the very text that it was read from; None as `read` does."""
        path = self.folder(run) / "run.json"
        try:
            text = path.read_text(encoding="utf-8")
            return _record(text, run), text
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.note_damage(run, error)
            return None

    def note_damage(self, run: str, error: Exception) -> None:
        """Remember that a run's file cannot be believed."""
        self.damaged[self.folder(run) / "run.json"] = f"{type(error).__name__}: {error}".partition("\n")[0]

    def records(self) -> Iterator[Record]:
        """Yield every finished run, by id."""
        for run in self.ids():
            record = self.read(run)
            if record is not None:
                yield record

    def ids(self) -> list[str]:
        """Return the ids of all runs that have a run file, sorted."""
        return sorted(path.parent.name for path in self.home.glob("runs/??/*/run.json"))

    def begun_ids(self) -> list[str]:
        """Return the ids of all runs that were ever begun, sorted."""
        return sorted(path.parent.name for path in self.home.glob("runs/??/*/spec.json"))

    def finished(self, specs: Iterable[Spec]) -> list[Record]:
        """Return those of `specs` that are finished, in their order."""
        found = (self.read(spec.id) for spec in specs)
        return [record for record in found if record is not None]

    def open(self, spec: Spec, rows: Iterable[Mapping[str, Any]] = ()) -> Attempt:
        """Begin a run, or go on behind the `rows` of its first stages; what else was left is replaced."""
        return Attempt(self.folder(spec.id), spec, rows)


class Attempt:
    """A run being written. Used as a context manager; without `finish` the run does not exist."""

    def __init__(self, folder: Path, spec: Spec, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.folder = folder
        self.spec = spec
        self.number = 1
        self.stages = [dict(row) for row in rows]
        self.seconds = 0.0
        """Spent on writing stages."""

    def __enter__(self) -> Self:
        """Make the folder and write the description."""
        self.number = _attempts(self.folder) + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / "spec.json", canonical(self.spec.as_dict()) + "\n")
        # A new file, not the old one cut: a process that lost the run may still hold that one.
        write(self.folder / "stages.jsonl", "".join(canonical(row) + "\n" for row in self.stages))
        self._file = (self.folder / "stages.jsonl").open("a", encoding="utf-8")
        (self.folder / FAILURE).unlink(missing_ok=True)
        self.event("start", attempt=self.number, stages=len(self.stages))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close the files; say why where the run did not finish."""
        if error is None:
            self._file.close()
            return
        with suppress(OSError):  # a full disk is the error already
            self._file.close()
        trace = "".join(traceback.format_exception(kind, error, error.__traceback__))
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            self.event("stopped", error=said)
            return
        self.event("failed", error=said, traceback=trace)
        note_failure(self.folder, said, trace)

    def append(self, stage: Mapping[str, Any]) -> None:
        """Add the row of a stage; it is on the disk when this returns."""
        start = perf_counter()
        self.stages.append(dict(stage))
        self._file.write(canonical(stage) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.event("stage", index=stage["index"])
        self.seconds += perf_counter() - start

    def _own(self) -> dict[str, int | float]:
        return {"attempts": self.number, "store_seconds": self.seconds}

    def finish(self, status: str, provenance: Mapping[str, Any]) -> Record:
        """Write run.json, with which the run begins to exist."""
        record = Record(self.spec, status, self.stages, {**provenance, **self._own()})
        plain: dict[str, Any] = {
            "id": record.id,
            "spec": self.spec.as_dict(),
            "status": status,
            "stages": self.stages,
            "provenance": record.provenance,
        }
        plain["digest"] = _digest(plain)
        put(self.folder, json.dumps(plain, sort_keys=True, indent=1, allow_nan=False) + "\n")
        self.event("done", status=status)
        return record

    def event(self, what: str, **more: object) -> None:
        """Add a line to events.jsonl, for people and displays; a full disk must not stop a run for it."""
        from datetime import UTC, datetime

        line = canonical({"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": what, **more})
        try:
            with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return


def put(folder: Path, text: str) -> None:
    """Write the run file of a folder."""
    path = folder / "run.json"
    if path.exists():
        # A damaged one: it was not believed, but somebody may want to look at it.
        path.replace(path.with_name("run.damaged.json"))
    write(path, text)


def note_failure(folder: Path, reason: str, trace: str = "") -> None:
    """Keep why a run failed, until it is tried again; a full disk may be the reason and prevent that."""
    plain = {"error": reason, "traceback": trace}
    with suppress(OSError):
        write(folder / FAILURE, json.dumps(plain, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Write a text so that it is there whole or not at all, also after a crash."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also Ctrl-C: nothing half-written stays
        temporary.unlink(missing_ok=True)
        raise


def free_bytes(path: Path) -> int:
    """Return the free space where `path` is or would be made."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _attempts(folder: Path) -> int:
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not there, or not to be read: the count is for people
        return 0
    return sum('"event":"start"' in line for line in lines)


def _record(text: str, run: str) -> Record:
    """Read a run file. Raises ValueError, or what reading strange JSON raises, where it is damaged."""
    plain = json.loads(text)
    digest = plain.pop("digest", None)
    if digest is not None and digest != _digest(plain):
        raise ValueError("it was changed after it was written")
    record = Record(
        Spec.from_dict(plain["spec"]), plain["status"], plain["stages"], dict(plain["provenance"])
    )
    if record.id != plain["id"] or run != record.id:
        raise ValueError("its id is not that of its description")
    _check_rows(record)
    if record.status not in STATUSES:
        raise ValueError(f"its status is {record.status!r}, which is none of {', '.join(STATUSES)}")
    if not record.stages or [row["index"] for row in record.stages] != list(range(len(record.stages))):
        raise ValueError("its stages are not complete")
    return record


def _check_rows(record: Record) -> None:
    """Raise ValueError where a number is none: such a record was made by hand, and no table can be."""
    if all(map(_is_plain, record.stages)):
        return
    odd = [
        f"{name} is {value!r}" for row in record.stages for name, value in row.items() if _odd(name, value)
    ]
    if odd:
        raise ValueError(odd[0][:80])


def _is_plain(row: Mapping[str, object]) -> bool:
    """Return whether a row is surely sound, without a look at each value: nearly all are."""
    numbers = [value for name, value in row.items() if name not in WORDS]
    words = [row[name] for name in WORDS if name in row]
    floats = [value for value in numbers if type(value) is float]
    kinds = {*map(type, numbers)} <= {int, float, type(None)} and {*map(type, words)} <= {str}
    return kinds and all(map(math.isfinite, floats))


def _odd(name: str, value: object) -> bool:
    if name in WORDS or isinstance(value, bool):
        return not isinstance(value, str)
    return not isinstance(value, int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    )


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]

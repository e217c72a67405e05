"""A run being written: stages appended as they end, the run's own file last and at once."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record, as_text
from plastibench.system.files import write_atomic

FAILURE_FILE = "failed.json"
"""Why the last attempt failed; not there while one is under way."""


class RunWriter:
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
        write_atomic(self.folder / "spec.json", canonical(self.spec.as_dict()) + "\n")
        # A new file, not the old one cut: a process that lost the run may still hold that one.
        write_atomic(self.folder / "stages.jsonl", "".join(canonical(row) + "\n" for row in self.stages))
        self._file = (self.folder / "stages.jsonl").open("a", encoding="utf-8")
        (self.folder / FAILURE_FILE).unlink(missing_ok=True)
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
        write_failure(self.folder, said, trace)

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
        put(self.folder, as_text(record))
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
    write_atomic(path, text)


def write_failure(folder: Path, reason: str, trace: str = "") -> None:
    """Keep why a run failed, until it is tried again; a full disk may be the reason and prevent that."""
    plain = {"error": reason, "traceback": trace}
    with suppress(OSError):
        write_atomic(folder / FAILURE_FILE, json.dumps(plain, indent=1) + "\n")


def _attempts(folder: Path) -> int:
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not there, or not to be read: the count is for people
        return 0
    return sum('"event":"start"' in line for line in lines)

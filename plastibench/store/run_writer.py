"""A run being written: stages are appended as they end, the record is written last and atomically."""

import json
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from plastibench.experiments.spec import Spec, canonical
from plastibench.plugins.plugin import Plugin
from plastibench.store.plugin_files import PLUGINS_FILE, write_plugins
from plastibench.store.record import Record
from plastibench.system.files import write_atomic

FAILURE_FILE = "failed.json"
"""Why the last attempt failed; removed when the run is tried again."""


class RunWriter:
    """Context manager that writes a run; without `finish` the run does not exist."""

    def __init__(
        self,
        folder: Path,
        spec: Spec,
        rows: Iterable[Mapping[str, Any]] = (),
        plugins: Sequence[Plugin] = (),
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.plugins = plugins
        """Those whose source is kept beside the spec."""
        self.rows = [dict(row) for row in rows]
        """The complete stages."""
        self.attempt = 1
        self.seconds = 0.0
        """Time spent on writing stages."""

    def describe(self) -> None:
        """Write the spec of a run that is to be executed later, so that others know of it and can do it."""
        if not (self.folder / "spec.json").exists():
            self._write_description(sync=False)

    def _write_description(self, *, sync: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_plugins(self.folder / PLUGINS_FILE, self.plugins, sync=sync)
        write_atomic(self.folder / "spec.json", canonical(self.spec.as_dict()) + "\n", sync=sync)

    def __enter__(self) -> Self:
        """Begin."""
        return self.begin()

    def begin(self) -> Self:
        """Create the folder and write the plug-ins, the spec and the complete stages."""
        self.attempt = _num_attempts(self.folder) + 1
        self._write_description(sync=True)
        # A new file, not the old one truncated: a process that lost the run may still hold that one.
        write_atomic(self.folder / "stages.jsonl", "".join(canonical(row) + "\n" for row in self.rows))
        self._file = (self.folder / "stages.jsonl").open("a", encoding="utf-8")
        (self.folder / FAILURE_FILE).unlink(missing_ok=True)
        self._log("start", attempt=self.attempt, stages=len(self.rows))
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close the files; write the reason if the run did not finish."""
        message = "" if error is None else f"{type(error).__name__}: {error}"
        if error is None or isinstance(error, KeyboardInterrupt):
            self.close(message)
            return
        with suppress(OSError):  # a full disk is the error already
            self._file.close()
        self.fail(message, "".join(traceback.format_exception(error_type, error, error.__traceback__)))

    def close(self, reason: str = "") -> None:
        """Close the files; `reason` is why the run was stopped, if it was."""
        if not reason:
            self._file.close()
            return
        with suppress(OSError):
            self._file.close()
        self._log("stopped", error=reason)

    def fail(self, message: str, trace: str) -> None:
        """Write why the run failed."""
        self._log("failed", error=message, traceback=trace)
        write_failure(self.folder, message, trace)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add the row of a stage; it is on the disk when this returns."""
        start = perf_counter()
        self.rows.append(dict(row))
        self._file.write(canonical(row) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._log("stage", index=row["index"])
        self.seconds += perf_counter() - start

    def finish(self, status: str, provenance: Mapping[str, Any]) -> Record:
        """Write run.json, with which the run begins to exist."""
        written = {"attempts": self.attempt, "store_seconds": self.seconds}
        record = Record(self.spec, status, self.rows, {**provenance, **written})
        write_run_file(self.folder, record.to_json())
        self._log("done", status=status)
        return record

    def _log(self, event: str, **fields: object) -> None:
        """Add a line to events.jsonl, for people and displays; a full disk must not stop a run for it."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError), (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(canonical({"time": time, "event": event, **fields}) + "\n")


def write_run_file(folder: Path, text: str) -> None:
    """Write the run file of a folder; a damaged one is kept beside it for inspection."""
    write_atomic(folder / "run.json", text, backup=folder / "run.damaged.json")


def write_failure(folder: Path, reason: str, trace: str = "") -> None:
    """Write why a run failed; a full disk may be the reason and prevent that."""
    with suppress(OSError):
        write_atomic(
            folder / FAILURE_FILE, json.dumps({"error": reason, "traceback": trace}, indent=1) + "\n"
        )


def read_failure(folder: Path) -> dict[str, str]:
    """Return the error and the traceback that `write_failure` wrote; empty if they cannot be read."""
    try:
        failure = json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return failure if isinstance(failure, dict) else {}


def _num_attempts(folder: Path) -> int:
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # missing or unreadable: the count is only informative
        return 0
    return sum('"event":"start"' in line for line in lines)

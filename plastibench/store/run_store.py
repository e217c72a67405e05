"""The runs under a home folder: one folder a run, which exists when its run.json does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec
from plastibench.store.record import Record, parse
from plastibench.store.run_writer import RunWriter

HOME_VARIABLE = "PLASTIBENCH_HOME"
DEFAULT_HOME = "plastibench-home"


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
        found = self.read_with_text(run)
        return None if found is None else found[0]

    def read_with_text(self, run: str) -> tuple[Record, str] | None:
        """Return a finished run with the very text that it was read from; None as `read` does."""
        path = self.folder(run) / "run.json"
        try:
            text = path.read_text(encoding="utf-8")
            return parse(text, run), text
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

    def started_ids(self) -> list[str]:
        """Return the ids of all runs that were ever begun, sorted."""
        return sorted(path.parent.name for path in self.home.glob("runs/??/*/spec.json"))

    def finished(self, specs: Iterable[Spec]) -> list[Record]:
        """Return those of `specs` that are finished, in their order."""
        found = (self.read(spec.id) for spec in specs)
        return [record for record in found if record is not None]

    def open(self, spec: Spec, rows: Iterable[Mapping[str, Any]] = ()) -> RunWriter:
        """Begin a run, or go on behind the `rows` of its first stages; what else was left is replaced."""
        return RunWriter(self.folder(spec.id), spec, rows)

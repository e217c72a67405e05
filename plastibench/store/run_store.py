"""The runs in a home folder: one folder per run, which counts as finished if it has a run.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec
from plastibench.plugins.plugin import Plugin
from plastibench.store import plugin_files
from plastibench.store.record import Record
from plastibench.store.run_writer import RunWriter
from plastibench.system.files import process_name

if TYPE_CHECKING:
    from plastibench.store.tuned_settings import TunedSettings
    from plastibench.store.verifications import Marks

HOME_VARIABLE = "PLASTIBENCH_HOME"
DEFAULT_HOME = "plastibench-home"


class Store:
    """The runs in a home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.damaged: dict[Path, str] = {}
        """Damaged files found so far, with the reason. Their runs count as unfinished."""

    @property
    def origin(self) -> str:
        """Return the home folder, for messages."""
        return str(self.home)

    def prepare(self) -> None:
        """Create the folders. Raises RequestError if that is not possible."""
        try:
            (self.home / "runs").mkdir(parents=True, exist_ok=True)
            probe = self.home / "runs" / f".writable-{process_name()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise RequestError(
                f"home {self.home} cannot be written: {error.strerror} "
                f"(choose another with --home or {HOME_VARIABLE})"
            ) from error

    def folder(self, run: str) -> Path:
        """Return the folder of a run."""
        return self.home / "runs" / run[:2] / run

    def read(self, run: str) -> Record | None:
        """Return a finished run, or None if there is none or its file is damaged."""
        result = self.read_with_text(run)
        return None if result is None else result[0]

    def read_with_text(self, run: str) -> tuple[Record, str] | None:
        """Return a finished run with the text of its file, or None if `read` does."""
        try:
            text = (self.folder(run) / "run.json").read_text(encoding="utf-8")
            return Record.from_json(text, run), text
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.mark_damaged(run, error)
            return None

    def mark_damaged(self, run: str, error: Exception) -> None:
        """Note that the file of a run is damaged."""
        self.damaged[self.folder(run) / "run.json"] = f"{type(error).__name__}: {error}".partition("\n")[0]

    def records(self) -> Iterator[Record]:
        """Yield all finished runs, sorted by id."""
        for run in self.ids():
            record = self.read(run)
            if record is not None:
                yield record

    def ids(self) -> list[str]:
        """Return the ids of all runs with a run file, sorted."""
        return sorted(path.parent.name for path in self.home.glob("runs/??/*/run.json"))

    def started_ids(self) -> list[str]:
        """Return the ids of all runs that were ever started, sorted."""
        return sorted(path.parent.name for path in self.home.glob("runs/??/*/spec.json"))

    def finished(self, specs: Iterable[Spec]) -> list[Record]:
        """Return those of `specs` that are finished, in their order."""
        records = (self.read(spec.id) for spec in specs)
        return [record for record in records if record is not None]

    def events(self, run: str) -> bytes:
        """Return the log of a run's events; empty if there is none."""
        try:
            return (self.folder(run) / "events.jsonl").read_bytes()
        except FileNotFoundError:
            return b""

    def plugins_path(self, run: str) -> Path:
        """Return the file that keeps the source of a run's plug-ins that are not shipped."""
        return self.folder(run) / plugin_files.PLUGINS_FILE

    def kept_plugins(self, run: str) -> list[Plugin]:
        """Return the plug-ins kept with a run, of which nothing is executed.

        Raises RequestError if they are damaged.
        """
        return plugin_files.read_plugins(self.plugins_path(run))

    def tuned_settings(self) -> dict[str, TunedSettings]:
        """Return where settings come from that tunings chose, by variant."""
        from plastibench.store import tuned_settings  # and with it the suites, which `--help` need not read

        return tuned_settings.load(self.home)

    def verifications(self) -> Marks:
        """Return nothing: repetitions are noted beside records files."""
        return {}

    def open(
        self, spec: Spec, rows: Iterable[Mapping[str, Any]] = (), plugins: Sequence[Plugin] = ()
    ) -> RunWriter:
        """Return the writer of a run that starts, or continues after the stages in `rows`.

        The source of `plugins`, which are not shipped, is kept with the run.
        """
        return RunWriter(self.folder(spec.id), spec, rows, plugins)

"""The runs of records files, to be read like those of a home folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.experiments.grid_plan import Refusal
from plastibench.plugins.plugin import Plugin
from plastibench.store import verifications
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.record_rules import check_lengths
from plastibench.store.records_file import Board, RecordsFile, read_records
from plastibench.store.tuned_settings import TunedSettings
from plastibench.store.verifications import Mark, Marks


class RecordedRuns:
    """The runs of one records file or of several; all are held in memory."""

    def __init__(self, files: Mapping[Path, RecordsFile]) -> None:
        """Unite files. Raises RequestError if a run has different numbers in two of them."""
        self.files = files
        self.damaged: dict[Path, str] = {}
        """Always empty: a damaged file is refused as a whole."""
        self._runs: dict[str, tuple[Path, Record]] = {}
        for path, content in files.items():
            for record in content.runs:
                first, same = self._runs.setdefault(record.id, (path, record))
                different = next(differences(same, record, (f"in {first}", f"in {path}")), None)
                if different is not None:
                    raise RequestError(f"run {record.id} ({record.spec.name}) differs: {different}")
        check_lengths(record for _, record in self._runs.values())

    @classmethod
    def from_paths(cls, paths: Sequence[Path]) -> RecordedRuns:
        """Read files. Raises RequestError for one that is missing or damaged, and for different numbers."""
        return cls({path: read_records(path) for path in paths})

    @property
    def origin(self) -> str:
        """Return the files, for messages."""
        return ", ".join(map(str, self.files))

    @property
    def board(self) -> Board | None:
        """Return what the runs are shown as; None if the files disagree."""
        boards = {content.board for content in self.files.values()}
        return boards.pop() if len(boards) == 1 else None

    @property
    def refused(self) -> list[Refusal]:
        """Return the methods that cannot run where they were asked to."""
        return [one for content in self.files.values() for one in content.refused]

    def ids(self) -> list[str]:
        """Return the ids of the runs, sorted."""
        return sorted(self._runs)

    def read(self, run: str) -> Record | None:
        """Return a run, or None if there is none."""
        return self._runs[run][1] if run in self._runs else None

    def read_with_text(self, run: str) -> tuple[Record, str] | None:
        """Return a run with the text of its run file, or None if there is none."""
        record = self.read(run)
        return None if record is None else (record, record.to_json())

    def records(self) -> Iterator[Record]:
        """Yield all runs, sorted by id."""
        for run in self.ids():
            yield self._runs[run][1]

    def events(self, run: str) -> bytes:
        """Return nothing: files do not keep the log of a run's events."""
        return b""

    def plugins_path(self, run: str) -> Path:
        """Return the file that a run is in."""
        return self._runs[run][0]

    def kept_plugins(self, run: str) -> list[Plugin]:
        """Return the plug-ins kept for a run, of which nothing is executed."""
        path, record = self._runs[run]
        plugins = self.files[path].plugins
        keys = ((kind, part.name, part.code) for kind, part in record.spec.all_parts())
        return [plugins[key] for key in keys if key in plugins]

    def tuned_settings(self) -> dict[str, TunedSettings]:
        """Return where settings come from that tunings chose, by variant; the first file counts."""
        chosen: dict[str, TunedSettings] = {}
        for content in self.files.values():
            chosen = {**content.tuned, **chosen}
        return chosen

    def verifications(self) -> Marks:
        """Return how repetitions of runs ended, by run, from the files beside these ones.

        If several folders have a mark of a run, the one that belongs to its content counts.
        """
        marks: dict[str, Mark] = {}
        for folder in sorted({path.parent for path in self.files}):
            for run, mark in verifications.load(folder).items():
                record = self.read(run)
                if record is not None and mark.digest == record.digest:
                    marks[run] = mark
        return marks

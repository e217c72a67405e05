"""Copy finished runs of home folders and records files into a home; no copy silently wins over another."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plastibench.console import progress
from plastibench.errors import RequestError, count
from plastibench.experiments.spec import canonical
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.plugin_files import write_plugins
from plastibench.store.record import Record
from plastibench.store.record_diff import differ_in_data, differences, likely_causes
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.run_source import RunSource
from plastibench.store.run_status import RunLockedError, run_lock
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE, write_run_file
from plastibench.system.files import write_atomic
from plastibench.workflows.kept_plugins import has_plugins_of, keeps_plugins

logger = logging.getLogger(__name__)

Outcome = Literal["copied", "already present", "conflicting", "locked", "damaged"]


@dataclass(frozen=True)
class MergeResult:
    """What happened to the runs."""

    counts: Mapping[Outcome, int]
    damaged: Mapping[Path, str]
    """Run files that were left out, with the reason."""

    @property
    def is_complete(self) -> bool:
        """Return whether every finished run is in the target now."""
        return not (self.counts.get("conflicting") or self.counts.get("locked") or self.damaged)


@dataclass(frozen=True)
class RunCopy:
    """A finished run as one of the sources has it."""

    source: RunSource
    record: Record
    text: str
    """The run file, which is copied unchanged."""


def merge(sources: Sequence[Path], target: Path) -> MergeResult:
    """Copy the finished runs of home folders and records files, which are only read, to the target.

    Raises RequestError for a source without runs or a damaged file, and if the target is among the sources.
    """
    opened = [open_source(path) for path in sources]
    runs = sorted({run for source in opened for run in _runs(source, target)})
    merger = _Merger(opened, Store(target))
    merger.target.prepare()
    with progress(f"merging {count(len(runs), 'run')}", len(runs)) as advance:
        for run in runs:
            merger.counts[merger.copy(run)] += 1
            advance(1)
    merger.copy_leaderboards()
    merger.copy_tuned_settings()
    merger.copy_tuned_suites()
    merger.log_summary()
    damaged = {path: reason for source in opened for path, reason in source.damaged.items()}
    return MergeResult(dict(merger.counts), damaged)


def open_source(path: Path) -> RunSource:
    """Return the runs of a home folder or of a records file. Raises RequestError for a damaged file."""
    return RecordedRuns.from_paths([path]) if path.is_file() else Store(path)


def _runs(source: RunSource, target: Path) -> list[str]:
    if target.exists() and Path(source.origin).exists() and Path(source.origin).samefile(target):
        raise RequestError(f"{source.origin} is the target: name the other home folders, and it by --home")
    runs = source.ids()
    if not runs:
        raise RequestError(f"no finished runs in {source.origin}")
    return runs


class _Merger:
    def __init__(self, sources: Sequence[RunSource], target: Store) -> None:
        self.sources = sources
        self.target = target
        self.counts: Counter[Outcome] = Counter()
        self.num_repeated = 0
        """Runs that were executed more than once, with the same numbers."""

    @property
    def homes(self) -> list[Path]:
        """Return the home folders among the sources."""
        return [source.home for source in self.sources if isinstance(source, Store)]

    def copy(self, run: str) -> Outcome:
        """Copy a run if all undamaged copies agree in their numbers."""
        present = _read(self.target, run)
        copies = [copy for source in self.sources if (copy := _read(source, run))]
        if not copies:
            return "damaged"
        first, *others = [present, *copies] if present else copies
        for other in others:
            differing = list(
                differences(
                    first.record, other.record, (f"in {first.source.origin}", f"in {other.source.origin}")
                )
            )
            if differing:
                self._log_conflict(first, other, differing)
                return "conflicting"
        self.num_repeated += any(other.text != first.text for other in others)
        if present:
            self._copy_plugins(run, copies)
            return "already present"
        try:
            if not write_copy(first, self.target):
                return self.copy(run)
            self._copy_plugins(run, copies)
        except RunLockedError as error:
            self._warn(first, f"{error} is executing it in {self.target.home}: left out")
            return "locked"
        return "copied"

    def _copy_plugins(self, run: str, copies: Sequence[RunCopy]) -> None:
        """Copy the source of a run's plug-ins, so that it can be verified, unless it is damaged."""
        spec = copies[0].record.spec
        if has_plugins_of(self.target, spec):
            return
        for source in (copy.source for copy in copies):
            if has_plugins_of(source, spec):
                write_plugins(self.target.plugins_path(run), source.kept_plugins(run))
                return
            if keeps_plugins(source, run):
                path = source.plugins_path(run)
                self._warn(copies[0], f"the kept source {path} is damaged or was changed: left out")

    def copy_leaderboards(self) -> None:
        """Add the runs that are in the target to the leaderboards under whose names they were requested."""
        present = set(self.target.ids())
        for home in self.homes:
            for name, runs in leaderboards.load(home).items():
                if present.intersection(runs):
                    leaderboards.add_runs(self.target.home, name, present.intersection(runs))

    def copy_tuned_settings(self) -> None:
        """Copy which settings a tuning chose, which tables show."""
        known = self.target.tuned_settings()
        for source in self.sources:
            for variant, origin in source.tuned_settings().items():
                both = tuned_settings.united(known.setdefault(variant, origin), origin)
                if both is not None:
                    known[variant] = both
                else:
                    logger.warning(
                        "settings that study %s chose in %s are kept as those of study %s",
                        origin.study,
                        source.origin,
                        known[variant].study,
                    )
        if known:
            tuned_settings.save(self.target.home, known)

    def copy_tuned_suites(self) -> None:
        """Copy the suites that tunings wrote, with the plug-ins that they were made for."""
        for home in self.homes:
            for name in tuned_settings.suite_names(home):
                if not tuned_settings.copy_suite(name, home, self.target.home):
                    logger.warning(
                        "tuning %s of %s is left out: %s has another of that name",
                        name,
                        home,
                        self.target.home,
                    )

    def log_summary(self) -> None:
        """Log what was left out and why, then the counts."""
        for source in self.sources:
            for path, reason in source.damaged.items():
                logger.warning("run file %s is damaged (%s): left out", path, reason)
        for home in self.homes:
            _log_unfinished(Store(home))
        for path in self.target.damaged:
            if self.target.read(path.parent.name) is not None:
                logger.info("run file %s was damaged: an undamaged copy has replaced it", path)
        if self.num_repeated:
            logger.info(
                "%s executed more than once with the same numbers: the seconds of one copy are kept, that of "
                "%s or else of the source named first",
                count(self.num_repeated, "run was", "runs were"),
                self.target.home,
            )
        counts = ", ".join(f"{number:,} {outcome}" for outcome, number in self.counts.items())
        logger.info("runs: %s; %s", counts, (self.target.home / "runs").resolve())

    def _log_conflict(self, first: RunCopy, second: RunCopy, differing: list[str]) -> None:
        kept = "the target's copy stays" if first.source is self.target else "none is copied"
        if differ_in_data(first.record, second.record):
            self._warn(first, f"the copies were made on different data ({differing[0]}): {kept}")
            return
        self._warn(
            first, f"{count(len(differing), 'number differs', 'numbers differ')} ({differing[0]}): {kept}"
        )
        origin = likely_causes(first.record, second.record)
        logger.warning("  %s", origin or "made by the same device and versions: one of them is wrong")

    def _warn(self, copy: RunCopy, message: str) -> None:
        logger.warning("%s %s: %s", copy.record.id, copy.record.spec.name, message)


def _log_unfinished(source: Store) -> None:
    num_unfinished = len(set(source.started_ids()) - set(source.ids()))
    if num_unfinished:
        logger.info(
            "%s not finished: left in %s, with checkpoints",
            count(num_unfinished, "run is", "runs are"),
            source.home,
        )


def _read(source: RunSource, run: str) -> RunCopy | None:
    loaded = source.read_with_text(run)
    return None if loaded is None else RunCopy(source, *loaded)


def write_copy(copy: RunCopy, target: Store) -> bool:
    """Write a run into another store, run.json last; files of an unfinished attempt there are replaced.

    Return False, with nothing changed, if another process has finished the run there meanwhile.
    Raises RunLockedError if a process is executing the run there.
    """
    run = copy.record.id
    folder = target.folder(run)
    with run_lock(folder):
        if target.read(run) is not None:
            return False
        write_atomic(folder / "spec.json", canonical(copy.record.spec.as_dict()) + "\n")
        write_atomic(folder / "stages.jsonl", "".join(canonical(row) + "\n" for row in copy.record.stages))
        if events := copy.source.events(run):
            write_atomic(folder / "events.jsonl", events)
        write_run_file(folder, copy.text)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        Checkpoint(folder, run).remove()
    return True

"""Bring the finished runs of several home folders into one; no copy wins over another in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from plastibench.cli.screen import Screen
from plastibench.console import progress
from plastibench.errors import RequestError
from plastibench.experiments.spec import canonical, name_of
from plastibench.store import tuned_settings
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.record import Record
from plastibench.store.record_diff import differences, likely_causes
from plastibench.store.run_status import RunLockedError, run_lock
from plastibench.store.run_store import Store
from plastibench.store.run_writer import FAILURE_FILE, write_run_file
from plastibench.system.files import write_atomic

DONE, SOME_LEFT_OUT = 0, 1

Fate = Literal["copied", "there already", "in conflict", "locked", "damaged"]


@dataclass(frozen=True)
class Copy:
    """A finished run as one of the homes has it."""

    home: Path
    record: Record
    text: str
    """Of its run file, which is copied as it is."""


def merge(homes: Sequence[Path], target: Path) -> int:
    """Copy the finished runs of `homes` to `target`; return the exit status.

    Raises RequestError for a home without runs, and for the target itself among them.
    """
    sources = [Store(home) for home in homes]
    runs = sorted({run for source in sources for run in _runs(source, target)})
    store = Store(target)
    store.prepare()
    merging = _Merging(sources, store)
    with progress(f"merging {len(runs):,} runs", len(runs)) as advance:
        for run in runs:
            merging.fates[merging.take(run)] += 1
            advance(1)
    merging.take_tuned()
    return merging.sum_up()


def _runs(source: Store, target: Path) -> list[str]:
    if target.exists() and source.home.exists() and source.home.samefile(target):
        raise RequestError(
            f"{source.home} is where the runs are to go: name the other homes, and it by --home"
        )
    found = source.ids()
    if not found:
        raise RequestError(f"no finished runs in {source.home}")
    return found


class _Merging:
    def __init__(self, sources: Sequence[Store], store: Store) -> None:
        self.sources = sources
        self.store = store
        self.fates: Counter[Fate] = Counter()
        self.twice = 0
        """Runs that were made more than once, with the same numbers."""
        self.console = Screen(stderr=True)

    def take(self, run: str) -> Fate:
        """Copy one run if there is one sound version of its numbers; say what else there is."""
        there = _copy(self.store, run)
        found = [copy for source in self.sources if (copy := _copy(source, run))]
        if not found:
            return "damaged"
        first, *others = [there, *found] if there else found
        for other in others:
            differing = list(differences(first.record, other.record, _where(first, other)))
            if differing:
                self._say_conflict(first, other, differing)
                return "in conflict"
        self.twice += any(other.text != first.text for other in others)
        if there:
            return "there already"
        try:
            if not put_copy(first, self.store):
                return self.take(run)
        except RunLockedError as error:
            self._say(first, f"{error} is at it in {self.store.home}: left out")
            return "locked"
        return "copied"

    def take_tuned(self) -> None:
        """Copy, too, which settings were chosen by a tuning: tables say so."""
        known = tuned_settings.load(self.store.home)
        for source in self.sources:
            for variant, origin in tuned_settings.load(source.home).items():
                if known.setdefault(variant, origin) != origin:
                    self._print(
                        f"settings that study {origin.study} chose in {source.home} are kept as those of "
                        f"study {known[variant].study}"
                    )
        if known:
            tuned_settings.save(self.store.home, known)

    def sum_up(self) -> int:
        """Say what became of the runs; return the exit status."""
        for source in self.sources:
            for path, reason in source.damaged.items():
                self._print(f"run file {path} is damaged ({reason}): it is left out")
            self._say_unfinished(source)
        for path in self.store.damaged:
            if self.store.read(path.parent.name) is not None:
                self._print(f"run file {path} was damaged: a sound copy has replaced it")
        if self.twice:
            self._print(
                f"{self.twice:,} runs were made more than once with the same numbers: the seconds of one "
                f"copy are kept, that of {self.store.home} or else of the home named first"
            )
        counts = ", ".join(f"{count:,} {fate}" for fate, count in self.fates.items())
        self._print(f"runs: {counts}; {(self.store.home / 'runs').resolve()}")
        left_out = self.fates["in conflict"] or self.fates["locked"]
        return SOME_LEFT_OUT if left_out or any(source.damaged for source in self.sources) else DONE

    def _say_unfinished(self, source: Store) -> None:
        count = len(set(source.started_ids()) - set(source.ids()))
        if count:
            self._print(
                f"{count:,} runs of {source.home} are not finished: they stay there, with their checkpoints"
            )

    def _say_conflict(self, first: Copy, second: Copy, differing: list[str]) -> None:
        kept = "that one stays" if first.home == self.store.home else "none is taken"
        self._say(first, f"{len(differing)} numbers differ ({differing[0]}): {kept}")
        other = likely_causes(first.record, second.record)
        self._print(f"  {other or 'made by the same device and versions: one of them is wrong'}")

    def _say(self, copy: Copy, what: str) -> None:
        self._print(f"{copy.record.id} {name_of(copy.record.spec)}: {what}")

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def _where(first: Copy, second: Copy) -> tuple[str, str]:
    return f"in {first.home}", f"in {second.home}"


def _copy(store: Store, run: str) -> Copy | None:
    found = store.read_with_text(run)
    return None if found is None else Copy(store.home, *found)


def put_copy(copy: Copy, store: Store) -> bool:
    """Write a run into another store, run.json last; what an unfinished attempt left there goes.

    Returns False where another process has finished that run there meanwhile: nothing is changed then.
    Raises Elsewhere where a process is at the run there.
    """
    run = copy.record.id
    folder, origin = store.folder(run), Store(copy.home).folder(run)
    with run_lock(folder):
        if store.read(run) is not None:
            return False
        write_atomic(folder / "spec.json", canonical(copy.record.spec.as_dict()) + "\n")
        write_atomic(folder / "stages.jsonl", "".join(canonical(row) + "\n" for row in copy.record.stages))
        with suppress(FileNotFoundError):
            write_atomic(folder / "events.jsonl", (origin / "events.jsonl").read_bytes())
        write_run_file(folder, copy.text)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        Checkpoint(folder, run).remove()
    return True

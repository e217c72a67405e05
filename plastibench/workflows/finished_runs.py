"""The finished runs of a selection: what tables, reports and comparisons are made from."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.errors import RequestError
from plastibench.experiments import suites
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.spec import Spec
from plastibench.experiments.suites import Defaults, Suite
from plastibench.store import tuned_settings, verifications
from plastibench.store.index.load import load_summaries, reading_progress
from plastibench.store.record import Record
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.records_file import Board
from plastibench.store.run_source import RunSource
from plastibench.store.run_status import get_status, started_specs
from plastibench.store.run_store import Store
from plastibench.workflows.request import Selection
from plastibench.workflows.selected_specs import refused_methods, selected_specs, specs_of_tasks

logger = logging.getLogger(__name__)

References = Suite | Defaults | Board
"""What names the methods that tables compare the others with."""


@dataclass(frozen=True)
class FinishedRuns:
    """The finished runs of a selection."""

    records: list[Record]
    references: References
    """Names the methods that tables compare the others with."""
    damaged: Mapping[Path, str] = field(default_factory=dict)
    """Run files that were left out, with the reason."""
    refused: Sequence[Refusal] = ()
    """Methods that cannot run where they are asked to."""

    @cached_property
    def tables(self) -> list[ResultTable]:
        """Return one table for each setting."""
        references = self.references
        return build_tables(self.records, references.baseline, references.cost_reference, self.refused)


def references_of(selection: Selection) -> References:
    """Return what names the methods to compare with: the suite, the file's board, or the defaults."""
    source = selection.source
    if isinstance(source, RecordedRuns) and selection.suite is None and not selection.tuned:
        return source.board or suites.defaults()
    return suites.defaults() if selection.is_empty else selection.resolved_suite


def finished_runs(selection: Selection, *, summarize: bool = False) -> FinishedRuns:
    """Return the finished runs of a suite, of a grid, or of the whole home folder.

    With `summarize` they come from the index where possible, which is fast and enough for tables.
    Raises RequestError if no run is finished or damaged.
    """
    source = selection.source if selection.records else Store(selection.workspace.home)
    whole = selection.is_empty or selection.is_of_tasks
    specs = None if whole else selected_specs(selection)
    ids = None if specs is None else [spec.id for spec in specs]
    records = load_summaries(source, ids) if summarize and isinstance(source, Store) else _read(source, ids)
    if selection.is_of_tasks:
        records = records_of_tasks(selection, records)
        specs = None if records else selected_specs(selection)
    log_damaged(source, "left out; `run` executes the run again")
    if not records and not source.damaged:
        more = _unfinished(source, specs) or _other_runs(selection, source)
        raise RequestError(f"no finished runs of this kind in {source.origin}{more}")
    if not whole and specs is not None and selection.seeds is None and isinstance(source, Store):
        _tell_of_more_seeds(source, specs)
    records = verifications.attach(records, source.verifications()) if selection.records else records
    records = tuned_settings.attach(records, source.tuned_settings())
    return FinishedRuns(records, references_of(selection), dict(source.damaged), refused_methods(selection))


def records_of_tasks(selection: Selection, records: Sequence[Record]) -> list[Record]:
    """Return the runs of the tasks that a selection names, of any method."""
    ids = {spec.id for spec in specs_of_tasks(selection, (record.spec for record in records))}
    return [record for record in records if record.id in ids]


def _tell_of_more_seeds(store: Store, specs: Sequence[Spec]) -> None:
    """Log how many seeds are finished beyond those that a selection has if it names none."""
    last = max(spec.seed for spec in specs)
    further = [spec for spec in specs if spec.seed == last]
    seed = last
    while any(store.read(replace(spec, seed=seed + 1).id) for spec in further):
        seed += 1
    if seed > last:
        text = "no seeds are named, so these are seeds up to %d; more are finished: --seeds %d takes them all"
        logger.info(text, last, seed + 1)


def log_damaged(store: RunSource, consequence: str) -> None:
    """Log a warning for each damaged run file that the store has met."""
    for path, reason in store.damaged.items():
        logger.warning("run file %s is damaged (%s): %s", path, reason, consequence)


def _unfinished(source: RunSource, specs: list[Spec] | None) -> str:
    """Return the states of the runs that are not finished, or nothing if none was started."""
    if not isinstance(source, Store):
        return ""
    entries = [
        get_status(source, spec, spec.name) for spec in (started_specs(source) if specs is None else specs)
    ]
    if all(run.state == "queued" for run in entries):
        return ""
    parts = []
    for state, count in sorted(Counter(run.state for run in entries).items()):
        first = next(run for run in entries if run.state == state)
        example = f"{first.name}: {first.detail}"
        prefix = "" if count == 1 else "such as "
        parts.append(f"{count} {state}" + (f" ({prefix}{example})" if first.detail else ""))
    return f": {', '.join(parts)}"


def _other_runs(selection: Selection, source: RunSource) -> str:
    """Return what else the home folder has runs of, if no suite is named."""
    if not isinstance(source, Store) or selection.suite is not None or selection.tuned:
        return ""
    tasks = {spec.task.name for spec in started_specs(source)}
    if selection.tasks is not None:
        same = sorted(tasks.intersection(selection.tasks))
        others = f"; there are runs of {', '.join(same)} with other settings, which --set names"
        return f"{others}; without --method all are taken" if same else ""
    suite = suites.defaults().suite
    others = f"; without --task suite {suite} is meant, and there are runs of {', '.join(sorted(tasks))}"
    return others if tasks else ""


def _read(source: RunSource, ids: list[str] | None) -> list[Record]:
    """Return full records, in order; damaged ones are left out."""
    ids = source.ids() if ids is None else ids
    records = []
    with reading_progress(len(ids)) as advance:
        for run in ids:
            record = source.read(run)
            records += [] if record is None else [record]
            advance(1)
    return records

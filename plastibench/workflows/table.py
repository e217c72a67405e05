"""The tables of finished runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from plastibench.analysis.tables.result_tables import ResultTables
from plastibench.errors import RequestError, unknown
from plastibench.tracking import TrackingServer
from plastibench.workflows.finished_runs import (
    FinishedRuns,
    finished_runs,
    records_of_tasks,
    references_of,
)
from plastibench.workflows.request import Selection
from plastibench.workflows.selected_specs import refused_methods, selected_specs


@dataclass(frozen=True)
class TableResult:
    """One table for each setting."""

    tables: ResultTables
    damaged: Mapping[Path, str] = field(default_factory=dict)
    """Run files that were left out, with the reason."""


def table(selection: Selection, baseline: str | None = None, tracking_uri: str | None = None) -> TableResult:
    """Tabulate finished runs: those in the home folder, or those that MLflow holds at an address.

    `baseline` is the method to pair the others with, by default the suite's. Raises RequestError if no run is
    finished, if the baseline is not among the methods, or if MLflow cannot be read.
    """
    if tracking_uri is None:
        runs = finished_runs(selection, summarize=True)
    else:
        runs = _tracked_runs(selection, tracking_uri)
    if baseline is not None:
        runs = replace(runs, references=replace(runs.references, baseline=baseline))
    tables = runs.tables
    methods = {row.method for table in tables for row in table.rows}
    if baseline is not None and baseline not in methods and runs.records:
        raise unknown("method in these tables", baseline, methods)
    return TableResult(ResultTables(tables), runs.damaged)


def _tracked_runs(selection: Selection, uri: str) -> FinishedRuns:
    from plastibench.tracking.bulk.reader import tracked_records

    server = TrackingServer.from_uri(uri, selection.workspace.home)
    whole = selection.is_empty or selection.is_of_tasks
    ids = None if whole else [spec.id for spec in selected_specs(selection)]
    records = tracked_records(server, selection.workspace.cache, ids)
    if selection.is_of_tasks:
        records = records_of_tasks(selection, records)
    if not records:
        raise RequestError(f"no finished runs of this kind in {server.display_uri}")
    return FinishedRuns(records, references_of(selection), refused=refused_methods(selection))

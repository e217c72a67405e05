"""The tables of finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.errors import RequestError, unknown
from plastibench.tracking import TrackingServer
from plastibench.workflows.finished_runs import FinishedRuns, finished_runs, references_of
from plastibench.workflows.request import Selection


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Finished runs to tabulate."""

    selection: Selection
    baseline: str | None = None
    """Method to pair the others with; None is the suite's."""


@dataclass(frozen=True)
class TableResult:
    """One table for each setting."""

    tables: list[ResultTable]
    damaged: Mapping[Path, str] = field(default_factory=dict)
    """Run files that were left out, with the reason."""


def table(request: TableRequest) -> TableResult:
    """Tabulate the finished runs in the home folder.

    Raises RequestError if no run is finished, or if the baseline is not among the methods.
    """
    runs = finished_runs(request.selection, summarize=True)
    return TableResult(_tables(runs, request.baseline), runs.damaged)


def table_from_mlflow(request: TableRequest, uri: str) -> TableResult:
    """Tabulate the runs that MLflow holds. Raises RequestError if there are none or it cannot be read."""
    from plastibench.tracking.bulk.reader import tracked_records

    selection = request.selection
    server = TrackingServer.from_uri(uri, selection.workspace.home)
    ids = None if selection.is_empty else [spec.id for spec in selection.specs]
    records = tracked_records(server, selection.workspace.cache, ids)
    if not records:
        raise RequestError(f"no finished runs of this kind in {server.display_uri}")
    return TableResult(_tables(FinishedRuns(records, references_of(selection)), request.baseline))


def _tables(runs: FinishedRuns, baseline: str | None) -> list[ResultTable]:
    result = build_tables(runs.records, baseline or runs.references.baseline, runs.references.cost_reference)
    methods = {row.method for table in result for row in table.rows}
    if baseline is not None and baseline not in methods and runs.records:
        raise unknown("method in these tables", baseline, methods)
    return result

"""What came out of runs: a value that makes tables, a data frame and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.analysis.tables.incomplete import Asked, mark_incomplete
from plastibench.analysis.tables.result_tables import ResultTables
from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.errors import RequestError, count
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.suites import Suite
from plastibench.runner.workspace import Workspace
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_writer import FAILURE_FILE, read_failure
from plastibench.workflows.kept_plugins import kept_plugins

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult:
    """What came out of a batch of runs."""

    workspace: Workspace
    suite: Suite
    summaries: list[Record]
    """The finished runs in short, in the order of the request."""
    failures: Mapping[str, str]
    """Why runs failed, by id."""
    num_runs: int
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses of leaderboards behind that of MLflow's page."""
    damaged: Mapping[Path, str] = field(default_factory=dict)
    """Files that kept runs from being executed, with the reason."""
    refused: Sequence[Refusal] = ()
    """Methods that cannot run where they are asked to."""
    asked: Asked = field(default_factory=Asked)
    """All runs that were asked for, those of other shards too."""

    def __repr__(self) -> str:
        numbers = (
            f"{len(self.summaries)} of {count(self.num_runs, 'run')} finished, {len(self.failures)} failed"
        )
        reasons = (f"\n{run}: {message}" for run, message in self.failures.items())
        return f"<RunResult {self.suite.name!r}: {numbers}>{''.join(reasons)}"

    @property
    def table(self) -> ResultTable | ResultTables:
        """Return the table, which shows itself; if there are several, one for each setting, all of them."""
        return self.tables[0] if len(self.tables) == 1 else self.tables

    @cached_property
    def tables(self) -> ResultTables:
        """Return one table for each setting."""
        return self._tables(self.summaries)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return a row for each run and stage: see `plastibench.frame`."""
        from plastibench.analysis.dataframe import to_dataframe

        return to_dataframe(self.records)

    def report(self, path: str | PathLike[str] | None = None) -> Path:
        """Write the HTML page of these runs, by default to SUITE.html, here; return its path.

        Raises RequestError if no run is finished or the file cannot be written.
        """
        from plastibench.workflows.report import write_page

        if not self.records:
            raise RequestError(f"no run of {self.suite.name} is finished: there is nothing to report on")
        tables, workspace = self._tables(self.records), self.workspace
        plugins = [*workspace.registry.own, *kept_plugins(workspace.store, self.records)]
        return write_page(tables, self.suite.name, plugins, None if path is None else Path(path))

    def _tables(self, records: Sequence[Record]) -> ResultTables:
        suite = self.suite
        tables = build_tables(records, suite.baseline, suite.cost_reference, self.refused)
        asked = replace(self.asked, failed=self.failures)
        return ResultTables(mark_incomplete(table, asked) for table in tables)

    @cached_property
    def records(self) -> list[Record]:
        """Return the finished runs with their stages and provenance, read from the home folder."""
        store = self.workspace.store
        found = (store.read(summary.id) for summary in self.summaries)
        return tuned_settings.attach(
            [record for record in found if record is not None], store.tuned_settings()
        )

    @property
    def tracebacks(self) -> dict[Path, str]:
        """Return the tracebacks of failed runs by the file that holds each; some runs may have none."""
        folders = map(self.workspace.store.folder, self.failures)
        found = {folder / FAILURE_FILE: read_failure(folder) for folder in folders}
        return {path: failure["traceback"] for path, failure in found.items() if failure.get("traceback")}

"""Two home folders, records files or suites side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plastibench.analysis.tables.comparison import Comparison, compare_tables
from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.runner.workspace import Workspace
from plastibench.store.records_file import SUFFIX
from plastibench.workflows.finished_runs import FinishedRuns, finished_runs
from plastibench.workflows.request import Selection


@dataclass(frozen=True)
class CompareResult:
    """Second minus first, for each method and setting that both have."""

    comparison: Comparison
    damaged: Mapping[Path, str]
    """Run files that were left out, with the reason."""


def compare(names: tuple[str, str], workspace: Workspace) -> CompareResult:
    """Compare two selections, paired by seed: home folders, records files, or suites in the workspace.

    Raises RequestError for a name that is none of these, for a damaged records file, for a selection without
    finished runs, and if the two have no method under one task and model in common.
    """
    first, second = (finished_runs(_selection(name, workspace), summarize=True) for name in names)
    result = compare_tables(names, first.tables, second.tables)
    damaged = {**first.damaged, **second.damaged}
    if first.records and second.records and not any(setting.rows for setting in result.settings):
        raise RequestError(
            f"{names[0]} and {names[1]} have no method under one task and model in common: the first has "
            f"{_contents(first)}; the second has {_contents(second)}"
        )
    return CompareResult(result, damaged)


def _selection(name: str, workspace: Workspace) -> Selection:
    if _is_home(Path(name)):
        return Selection(workspace=Workspace(home=Path(name), data=workspace.data, cache=workspace.cache))
    if name.endswith(SUFFIX):
        return Selection(workspace=workspace, records=(Path(name),))
    if not name.endswith(".toml") and name not in suites.names():
        raise unknown("home folder, records file or suite", name, suites.names())
    return Selection(workspace=workspace, suite=name)


def _is_home(path: Path) -> bool:
    try:
        return (path / "runs").is_dir()
    except OSError:  # a name that is too long for the disk
        return False


def _contents(runs: FinishedRuns) -> str:
    """Return what a selection has, as `task model method`."""
    specs = [record.spec for record in runs.records if not record.spec.held_out_test]
    names = {f"{spec.task.name} {spec.model.name} {spec.method.name}" for spec in specs}
    return ", ".join(sorted(names)) or "none that was tested"

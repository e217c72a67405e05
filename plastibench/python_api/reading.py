"""Functions that read finished runs: `table`, `results`, `frame` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from plastibench.workflows.arguments import FinishedArguments, Folder, finished_selection

if TYPE_CHECKING:
    import pandas as pd

    from plastibench.analysis.tables.result_tables import ResultTables
    from plastibench.store.record import Record


def table(
    suite: Folder | None = None,
    *,
    baseline: str | None = None,
    tracking_uri: str | None = None,
    **arguments: Unpack[FinishedArguments],
) -> ResultTables:
    """Tabulate finished runs, as `plastibench table` does: one table for each setting.

    Args:
        baseline: Method to pair the others with. Default: the suite's.
        tracking_uri: Read the runs from MLflow at this address instead.
        suite, **arguments: task, methods, model, recipe, probes, seeds, settings, device, home and plugins,
            as for `run`; records are files of `plastibench submit` to read in place of the home folder. If
            nothing names runs, all runs in the home folder, or in the files, are used.

    Returns:
        A list of tables, sorted by title, which shows itself in a notebook. Damaged runs are left out, with
            a warning to the logger.

    Raises:
        RequestError: If no run is finished, or something named does not exist.

    Example:
        >>> for row in plastibench.table("quickstart")[0].rows:
        ...     print(row.method, row.average.mean)

    """
    from plastibench.workflows import table as workflow

    return workflow.table(finished_selection(suite, arguments), baseline, tracking_uri).tables


def results(suite: Folder | None = None, **arguments: Unpack[FinishedArguments]) -> list[Record]:
    """Return finished runs with every stage and their provenance.

    Args:
        suite, **arguments: As for `table`.

    Returns:
        The records. Damaged runs are left out, with a warning to the logger.

    Raises:
        RequestError: If no run is finished, or something named does not exist.

    Example:
        >>> [record.stages[-1]["test_accuracy"] for record in plastibench.results(methods="dash")]

    """
    from plastibench.workflows.finished_runs import finished_runs

    return finished_runs(finished_selection(suite, arguments)).records


def frame(suite: Folder | None = None, **arguments: Unpack[FinishedArguments]) -> pd.DataFrame:
    """Return finished runs as a pandas data frame with one row for each run and stage.

    Args:
        suite, **arguments: As for `table`.

    Returns:
        The data frame: run, condition_id, setting, task, model, method, seed, status, recipe_changes; the
            settings of methods, such as `dash.floor`, empty for other methods; stage, from 1; and the
            stage's results, such as test_accuracy, steps and train_seconds. No column has the name of an
            attribute of data frames.

    Raises:
        RequestError: If no run is finished, or something named does not exist.

    Example:
        >>> frame = plastibench.frame(methods=["warm", "dash"])
        >>> sorted(frame.method.unique())
        ['dash', 'warm']

    """
    from plastibench.analysis.dataframe import to_dataframe

    return to_dataframe(results(suite, **arguments))


def report(
    path: Folder | None = None, suite: Folder | None = None, **arguments: Unpack[FinishedArguments]
) -> Path:
    """Write one HTML page about finished runs, as `plastibench report` does.

    Args:
        path: The page. Default: a file named after the suite, here.
        suite, **arguments: As for `table`.

    Returns:
        The path of the page.

    Raises:
        RequestError: If no run is finished, something named does not exist, or the page cannot be written.

    Example:
        >>> plastibench.report("page.html", methods=["warm", "dash"])

    """
    from plastibench.errors import RequestError
    from plastibench.workflows import report as workflow

    request = workflow.ReportRequest(
        selection=finished_selection(suite, arguments), path=None if path is None else Path(path)
    )
    written = workflow.report(request).path
    if written is None:
        raise RequestError("all finished runs of this kind are damaged: there is nothing to report on")
    return written

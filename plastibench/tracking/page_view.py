"""What MLflow's page of a leaderboard shows first: its order and its columns, as a view that links name."""

import json
from collections.abc import Sequence

VIEW = "plastibench"
"""The name of the view."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""The tag of an experiment with the view, as MLflow's button "Share" writes it."""
RUN_COLUMNS = ("test_accuracy_mean", "test_accuracy", "total_passes", "total_seconds")
"""Metrics of single runs."""

MIN_WIDTH, PIXELS = 90, 8
"""Of a column, and of a letter of its name: MLflow's own width cuts most names."""


def view_of_runs() -> str:
    """Return the view of a leaderboard without aggregates: the best run first."""
    return _view(RUN_COLUMNS, (), ("method", "seed"))


def view_of_aggregates(metrics: Sequence[str], params: Sequence[str]) -> str:
    """Return the view of a leaderboard: aggregates first, in the order of `metrics[0]`, then its runs.

    MLflow sorts what has no such metric, as runs have not, behind all that has one.
    """
    runs = [name for name in RUN_COLUMNS if name not in metrics]
    return _view([*metrics, *runs], params, ("seed",))


def _view(metrics: Sequence[str], params: Sequence[str], tags: Sequence[str]) -> str:
    names = {"metrics": metrics, "tags": tags, "params": params}
    columns = [f"{kind}.`{name}`" for kind, each in names.items() for name in each]
    order = {"orderByKey": columns[0], "orderByAsc": False, "columnOrder": columns}
    widths = {column: max(MIN_WIDTH, PIXELS * (len(column.partition("`")[2]) + 2)) for column in columns}
    return json.dumps({**order, "selectedColumns": columns, "columnWidths": widths})


def experiment_link(experiment: object) -> str:
    """Return the part of a page's address behind the server's that leads to the view."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}"

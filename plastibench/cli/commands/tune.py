"""Tune methods with equal budgets."""

from __future__ import annotations

import sys
from typing import Any

import click

from plastibench.cli import options

SHARED = ("suite", "task", "method", "model", "recipe", "seeds", "device", "settings")


@click.command("tune")
@options.names
@click.option("--trials", type=int, help="Trials of each method.")
@click.option("--budget", metavar="NUMBER", help="What each method may use: 2e6passes, 1e15flops or 0.5h.")
@click.option(
    "--objective",
    default="mean",
    show_default=True,
    help="last, mean, per_cost or cost, on validation data; two give all that none beats in both.",
)
@click.option(
    "--tune",
    "added",
    multiple=True,
    metavar="NAME[=LOW:HIGH[:log]]",
    help="A setting to search beside the methods' own, such as learning_rate. Can be repeated.",
)
@click.option(
    "--tuning-seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of a trial."
)
@click.option(
    "--pruning/--no-pruning", default=True, show_default=True, help="End bad trials early, by stages."
)
@click.option("--name", help="Of the tuning. Default: made of what is tuned.")
@click.option(
    "--storage", "url", metavar="URL", help="An Optuna storage. Default: a journal in the home folder."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Trials side by side.")
@click.option("--report", is_flag=True, help="Try nothing: say and draw what the trials so far have taught.")
@click.option("--mlflow/--no-mlflow", default=True, show_default=True, help="Mirror trials to MLflow.")
@options.threads
@options.tracking
@options.plugins
@options.data
@options.home
def command(report: bool, mlflow: bool, uri: str | None, **words: Any) -> None:  # noqa: ANN401 - click hands over words
    """Search the settings of methods on validation data, each method with the same budget.

    The test set stays sealed. What is chosen is written as a suite: `run --tuned` measures it on seeds of
    its own. --seeds are those to report.
    """
    from plastibench.tracking import TrackingServer
    from plastibench.workflows import tune

    ours = {
        name: words.pop(name) for name in set(words) - set(SHARED) - {"plugins", "data", "home", "threads"}
    }
    request = options.request(words)
    if report:
        sys.exit(tune.report(request, ours))
    sys.exit(
        tune.tune(request, tune.ask(ours), TrackingServer.from_uri(uri, request.home) if mlflow else None)
    )

"""Tune methods with equal budgets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.workflows.request import Selection
    from plastibench.workflows.tune import TuneRequest

logger = logging.getLogger(__name__)


@define_command("tune", "Tuning")
@options.selection
@click.option("--trials", "num_trials", type=int, help="Trials of each method.")
@click.option("--budget", metavar="AMOUNT", help="What each method may use: 2e6passes, 1e15flops or 0.5h.")
@click.option(
    "--objective",
    shell_complete=completion.one_of("last", "mean", "per_cost", "cost"),
    default="mean",
    show_default=True,
    help="last, mean, per_cost or cost, on validation data; with two, all trials that none beats in both.",
)
@click.option(
    "--tune",
    "dimensions",
    multiple=True,
    metavar="NAME[=LOW:HIGH[:log]]",
    help="A setting to search beside the methods' own, such as learning_rate. Can be repeated.",
)
@click.option(
    "--seeds-per-trial", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of a trial."
)
@click.option(
    "--pruning/--no-pruning",
    default=True,
    show_default=True,
    help="End trials early that cannot learn any more, or are behind the published settings.",
)
@click.option("--name", help="Name of the tuning. Default: made of what is tuned.")
@click.option(
    "--storage",
    "storage_url",
    metavar="URL",
    help="An Optuna storage. Default: a journal in the home folder.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Trials side by side. Default: one per CPU core."
)
@click.option("--report", is_flag=True, help="Run no trials: summarize and plot those so far.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each trial. Default: 1.")
@options.JSON
@options.MLFLOW
@options.TRACKING_URI
@click.pass_obj
def command(
    handler: ConsoleHandler,
    /,
    selection: Selection,
    *,
    as_json: bool,
    report: bool,
    **values: Any,  # noqa: ANN401 - fields of the request
) -> ExitCode:
    """Search the settings of methods, each with the same budget.

    Settings are judged on validation data: the test set is not read. The best settings are written as a
    suite: `run --tuned` measures it on seeds of its own. --seeds are those to report.

    Examples:
        plastibench tune --task digits --method shrink_perturb --trials 3
        plastibench tune --task digits --method dash,l2_init --budget 2e6passes --jobs 2
        plastibench tune --name my-tuning --report  # the trials so far

    """
    if report:
        _print_report(selection, values["name"], values["storage_url"], as_json=as_json)
        return ExitCode.SUCCESS
    from plastibench.cli.render import tuning_as_dict, tuning_lines
    from plastibench.display.tunings import TuningProgress
    from plastibench.workflows.tune import tune

    request = _request(selection, **values)
    with TuningProgress(handler.display_console) as progress:
        result = tune(request, [progress])
    if as_json:
        print_json(**tuning_as_dict(result))
    for line in [] if as_json else tuning_lines(result, selection.workspace):
        click.echo(line)
    return ExitCode.FAILURE if result.has_failures else ExitCode.SUCCESS


def _request(
    selection: Selection,
    *,
    num_trials: int | None,
    budget: str | None,
    objective: str,
    dimensions: tuple[str, ...],
    seeds_per_trial: int,
    pruning: bool,
    **values: Any,  # noqa: ANN401 - fields of the request
) -> TuneRequest:
    from plastibench.tuning.budget import parse_budget
    from plastibench.tuning.objective import parse_objectives
    from plastibench.tuning.plan import StudyConfig
    from plastibench.tuning.search_space import parse_dimensions
    from plastibench.workflows.tune import TuneRequest

    config = StudyConfig(
        objectives=parse_objectives(objective),
        num_seeds=seeds_per_trial,
        pruning=pruning,
        extra_dimensions=parse_dimensions(dimensions),
    )
    return TuneRequest(selection=selection, config=config, budget=parse_budget(num_trials, budget), **values)


def _print_report(selection: Selection, name: str | None, storage_url: str | None, *, as_json: bool) -> None:
    from plastibench.tuning.summary import format_summaries
    from plastibench.workflows.tuning_report import report_tuning

    result = report_tuning(selection.workspace.home, name or selection.suite, storage_url)
    if as_json:
        print_json(studies=result.summaries, figures=[path.resolve() for path in result.figures])
        return
    click.echo(format_summaries(result.summaries), nl=False)
    for path in result.figures:
        logger.info("figure: %s", path.resolve())

"""Execute a suite on a Slurm cluster."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection

logger = logging.getLogger(__name__)


@define_command("slurm", "Start")
@options.selection
@click.option(
    "--output",
    "folder",
    type=parsing.FilePath(file_okay=False),
    help="Folder of the scripts and their logs, which all nodes see. Default: slurm-SUITE.",
)
@click.option(
    "--homes",
    type=parsing.Choice(["shared", "each"]),
    default="shared",
    show_default=True,
    help="One home folder for all tasks, or one for each task, merged at the end.",
)
@click.option(
    "--array",
    "num_tasks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tasks of the array. Default: by --task-hours.",
)
@click.option(
    "--task-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    default=1.0,
    show_default=True,
    help="Group short runs into tasks of about this length.",
)
@click.option("--time", "time_limit", metavar="LIMIT", help="Time limit of a task. Default: by the estimate.")
@click.option(
    "--notice",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    default=120,
    show_default=True,
    help="Seconds before the time limit at which a task saves its state and is requeued.",
)
@click.option(
    "--concurrent", type=click.IntRange(min=1), metavar="N", help="Most tasks at a time. Default: no limit."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs side by side in a task. Default: one for each GPU, or for each CPU without --gpus.",
)
@click.option(
    "--cpus", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="CPUs of a task."
)
@click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="GPUs of a task.")
@click.option("--partition", metavar="NAME", help="Partition.")
@click.option("--account", metavar="NAME", help="Account.")
@click.option(
    "--sbatch", "directives", multiple=True, metavar="OPTION", help="A line for sbatch, such as --mem=16G."
)
@click.option(
    "--setup", multiple=True, metavar="COMMAND", help="A command before the runs, such as `module load cuda`."
)
@click.option("--program", metavar="COMMAND", help="How a node starts plastibench. Default: this Python.")
@click.option(
    "--costs",
    type=parsing.FilePath(dir_okay=False),
    help="Estimate by this file, which `plan --save` wrote on a node, instead of timing first stages here.",
)
@options.JSON
def command(selection: Selection, *, as_json: bool, **values: Any) -> None:  # noqa: ANN401 - fields of the request
    """Write the scripts that execute a suite with Slurm.

    An array of tasks, each of which executes a part of the runs; at the end, a job that brings MLflow up to
    date and prints the table. A task that is preempted or reaches its time limit saves its state, is requeued
    and continues.

    Examples:
        plastibench slurm cifar10-cpu --partition long --account me
        plastibench slurm paper-cifar10 --device cuda --costs costs.json --gpus 1 --cpus 4

    """
    from plastibench.console import describe_seconds
    from plastibench.errors import count
    from plastibench.workflows.slurm import write_scripts
    from plastibench.workflows.slurm_request import SlurmRequest

    scripts = write_scripts(SlurmRequest(selection=selection, **values))
    estimate = scripts.task_seconds
    logger.info(
        "%s in %s of at most %s%s",
        count(scripts.num_runs, "run"),
        count(scripts.num_tasks, "task"),
        scripts.time_limit,
        "" if estimate is None else f", the longest of about {describe_seconds(estimate)}",
    )
    if as_json:
        print_json(**vars(scripts))
    else:
        click.echo(scripts.submit_command)

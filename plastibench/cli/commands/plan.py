"""Say what runs will take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection


@define_command("plan", "Start")
@options.selection
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Runs side by side. Default: as `run` does."
)
@options.THREADS
@click.option(
    "--calibration",
    type=parsing.timeout,
    metavar="SECONDS",
    default="60",
    show_default=True,
    help="Most time to spend on timing first stages of what no earlier run tells about.",
)
@click.option(
    "--save",
    type=parsing.FilePath(dir_okay=False),
    help="Write what each run still takes to this file, for `run --shard --costs`.",
)
@options.JSON
def command(
    selection: Selection,
    *,
    jobs: int | None,
    threads: int | None,
    calibration: float | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Say how long runs will take, and what they need.

    By method: hours, FLOPs, memory and disk of the missing runs of a suite or of a grid. Finished runs are
    counted. Earlier runs of the same kind on this hardware tell; of the others first stages are timed, and
    thrown away.

    Examples:
        plastibench plan cifar10-cpu
        plastibench plan paper-cifar10 --device cuda --save costs.json  # for `run --shard --costs`

    """
    from plastibench.cli.plan_output import plan_lines, plan_table
    from plastibench.cli.text_tables import print_tables
    from plastibench.workflows.plan import PlanRequest, plan
    from plastibench.workflows.request import RunOptions

    found = plan(
        PlanRequest(
            selection=selection,
            options=RunOptions(jobs=jobs, threads=threads),
            save=save,
            calibration=calibration or float("inf"),
        )
    )
    if as_json:
        print_json(plan=found)
        return
    print_tables([plan_table(found)])
    click.echo("\n".join(["", *plan_lines(found)]))

"""Bring MLflow up to date."""

import logging
from pathlib import Path

import click

from plastibench.cli import completion, options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import damaged_as_list, print_json
from plastibench.errors import count

logger = logging.getLogger(__name__)


@define_command("sync", "MLflow")
@click.argument("names", nargs=-1, metavar="[SUITE|RUN]...", shell_complete=completion.run_ids)
@options.TRACKING_URI
@click.option(
    "--attach",
    "attachments",
    type=parsing.FilePath(exists=True),
    multiple=True,
    help="A file or folder to attach to the leaderboards: a report, figures. Can be repeated.",
)
@click.option("--report", is_flag=True, help="Attach each leaderboard's page and figures, made anew.")
@options.JSON
@options.HOME
def command(
    names: tuple[str, ...],
    tracking_uri: str | None,
    attachments: tuple[Path, ...],
    home: Path,
    *,
    as_json: bool,
    report: bool,
) -> ExitCode:
    """Bring MLflow up to date with the home folder.

    All runs, or those of suites or with ids. A second time in a row changes nothing. RUN is an id or the
    beginning of one.

    Examples:
        plastibench sync  # all runs
        plastibench sync quickstart --report  # with the page and the figures

    """
    from plastibench.workflows.sync import SyncRequest, sync

    result = sync(
        SyncRequest(home=home, tracking_uri=tracking_uri, names=names, attachments=attachments, report=report)
    )
    if as_json:
        print_json(**vars(result) | {"damaged": damaged_as_list(result.damaged)})
    trials = f" and {count(result.num_trials_written, 'trial')} of {count(result.num_tunings, 'tuning')}"
    logger.info(
        "MLflow: %d of %s%s brought up to date in %s",
        result.num_runs_written,
        count(result.num_runs, "run"),
        trials if result.num_tunings else "",
        result.address,
    )
    lacks_files = (attachments or report) and not result.has_artifacts
    return ExitCode.FAILURE if result.damaged or lacks_files else ExitCode.SUCCESS

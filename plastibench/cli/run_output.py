"""Print what came out of runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from plastibench.analysis.tables.export import format_tables
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.render import tables_text
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.workflows.run import RunResult

logger = logging.getLogger(__name__)


def print_result(result: RunResult) -> ExitCode:
    """Print the table on stdout, and on stderr where the runs are and how many failed."""
    click.echo(tables_text(format_tables(result.tables)), nl=False)
    logger.info("runs: %s", (result.workspace.home / "runs").resolve())
    if result.failures:
        logger.error(
            "%d of %s failed%s",
            len(result.failures),
            count(result.num_runs, "run"),
            ", the others are kept; the same command tries them again"
            if result.num_runs > 1
            else "; the same command tries it again",
        )
    return ExitCode.FAILURE if result.failures or result.damaged else ExitCode.SUCCESS

"""Print what came out of runs."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import click

from plastibench.analysis.tables.export import format_tables
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.logs import TRACEBACK_VARIABLE
from plastibench.cli.render import tables_text
from plastibench.errors import count, hide_logins

if TYPE_CHECKING:
    from plastibench.workflows.run_result import RunResult

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
        _show_tracebacks(result)
    return ExitCode.FAILURE if result.failures or result.damaged else ExitCode.SUCCESS


def _show_tracebacks(result: RunResult) -> None:
    """Print the tracebacks of failed runs if that is asked for, or else where one of them is."""
    texts = result.tracebacks
    if texts and os.environ.get(TRACEBACK_VARIABLE):
        for text in dict.fromkeys(texts.values()):
            click.echo(hide_logins(text), err=True, nl=False)
    elif texts:
        logger.error("traceback: %s (set %s=1 to print it)", next(iter(texts)), TRACEBACK_VARIABLE)

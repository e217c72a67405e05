"""Print what came out of runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from plastibench.analysis.tables.columns import STYLES
from plastibench.analysis.tables.export import format_tables, tables_as_dict
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import damaged_as_list, print_json
from plastibench.cli.logs import TRACEBACK_HINT, wants_tracebacks
from plastibench.cli.text_tables import print_tables
from plastibench.errors import count, hide_logins

if TYPE_CHECKING:
    from plastibench.workflows.run_result import RunResult

logger = logging.getLogger(__name__)


def print_result(result: RunResult, *, as_json: bool, wide: bool) -> ExitCode:
    """Print the table on stdout, and on stderr where the runs are and how many failed."""
    if as_json:
        print_json(**_as_dict(result))
    else:
        print_tables(format_tables(result.tables, STYLES["wide" if wide else "narrow"]))
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


def _as_dict(result: RunResult) -> dict[str, Any]:
    failed = [{"run": run, "reason": reason} for run, reason in result.failures.items()]
    return {
        "home": result.workspace.home.resolve(),
        "num_runs": result.num_runs,
        "failed": failed,
        "damaged": damaged_as_list(result.damaged),
        **tables_as_dict(result.tables),
    }


def _show_tracebacks(result: RunResult) -> None:
    """Print the tracebacks of failed runs if that is asked for, or else where one of them is."""
    texts = result.tracebacks
    if texts and wants_tracebacks():
        for text in dict.fromkeys(texts.values()):
            click.echo(hide_logins(text), err=True, nl=False)
    elif texts:
        logger.error("traceback: %s (%s)", next(iter(texts)), TRACEBACK_HINT)

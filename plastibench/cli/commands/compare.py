"""Compare two home folders, records files or suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import FORMAT, chosen_format, damaged_as_list, print_json

if TYPE_CHECKING:
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.compare import CompareResult


@define_command("compare", "Results")
@click.argument("first", metavar="A", shell_complete=completion.suites)
@click.argument("second", metavar="B", shell_complete=completion.suites)
@options.FORMAT
@options.JSON
@options.WIDE
@options.workspace
def command(
    first: str, second: str, format_: str | None, workspace: Workspace, *, as_json: bool, wide: bool
) -> ExitCode:
    """Compare homes, records files or suites, paired by seed.

    B minus A, with intervals. A and B are home folders, records files, or suites whose runs are in the folder
    named by --home. Seconds are compared on the same hardware only.

    Examples:
        plastibench compare plastibench-home other-home
        plastibench compare cifar10-cpu my_suite.toml --format md
        plastibench compare old.jsonl.xz new.jsonl.xz

    """
    from plastibench.cli.render import check_format
    from plastibench.workflows.compare import compare

    name = chosen_format(format_, as_json=as_json)
    check_format(name)
    result = compare((first, second), workspace)
    if result.comparison.settings or not result.damaged or name == FORMAT:
        _print(result, name, wide=wide)
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS


def _print(result: CompareResult, name: str, *, wide: bool) -> None:
    from plastibench.analysis.tables.comparison_table import (
        comparison_as_dict,
        format_comparison,
        render_comparison,
    )
    from plastibench.cli.text_tables import print_tables

    if name == FORMAT:
        print_json(**comparison_as_dict(result.comparison), damaged=damaged_as_list(result.damaged))
    elif name == "text":
        print_tables(format_comparison(result.comparison, wide=wide))
    else:
        click.echo(render_comparison(result.comparison, name), nl=False)

"""Print the tables of finished runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import FORMAT, chosen_format, damaged_as_list, print_json

if TYPE_CHECKING:
    from plastibench.workflows.request import Selection
    from plastibench.workflows.table import TableResult


@define_command("table", "Results")
@options.finished_selection
@options.FORMAT
@options.JSON
@options.WIDE
@click.option(
    "--baseline",
    shell_complete=completion.names_of("method", several=False),
    help="Method to pair the others with. Default: the suite's.",
)
@click.option(
    "--style",
    shell_complete=completion.one_of("narrow", "wide", "full", "paper"),
    help="narrow, wide, full, or paper as in DASH's table 1. Default: narrow as text, wide in other formats.",
)
@click.option(
    "--columns",
    shell_complete=completion.columns,
    help="Columns by name or heading, separated by commas, in place of a style's.",
)
@click.option(
    "--from", "uri", metavar="URI", help="Read the runs from MLflow alone: an address as for --tracking-uri."
)
def command(
    selection: Selection,
    *,
    format_: str | None,
    as_json: bool,
    wide: bool,
    baseline: str | None,
    style: str | None,
    columns: str | None,
    uri: str | None,
) -> ExitCode:
    """Print the table of finished runs.

    Of a suite, of a grid, or of everything in the home folder or the file of --records; --task without
    --method takes every method and setting that has finished runs. As text it has the columns that matter
    most; --wide shows all. CSV and JSON have every value unless --columns chooses some.

    Examples:
        plastibench table  # all finished runs
        plastibench table --wide  # with all columns
        plastibench table --task digits  # whatever has finished on digits
        plastibench table cifar10-cpu --format md > table.md
        plastibench table --columns average_accuracy,seconds

    """
    from plastibench.workflows.table import table

    name = chosen_format(format_, as_json=as_json)
    shown = _columns(selection, name, _style(name, style, wide=wide), columns, baseline)
    with _gc_paused():
        result = table(selection, baseline, uri)
        if result.tables or not result.damaged or name == FORMAT:
            _print(result, name, shown)
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS


def _style(format_: str, style: str | None, *, wide: bool) -> str:
    if wide and style not in (None, "wide"):
        raise click.UsageError(f"--wide and --style {style} cannot be given together")
    usual = "narrow" if format_ == "text" and not wide else "wide"
    return usual if style is None else style


def _columns(
    selection: Selection, format_: str, style: str, columns: str | None, baseline: str | None
) -> Sequence[str] | None:
    """Return the columns to show; None is every value, in a format for other programs."""
    from plastibench.analysis.tables.columns import select_columns
    from plastibench.cli.render import check_format
    from plastibench.workflows.finished_runs import references_of

    check_format(format_)
    usual = references_of(selection)
    references = {"baseline": baseline or usual.baseline, "cost_reference": usual.cost_reference}
    chosen = select_columns(style, columns, references)
    # A style is for reading: CSV and JSON have every value unless columns are named.
    return None if columns is None and format_ in ("csv", FORMAT) else chosen


def _print(result: TableResult, name: str, columns: Sequence[str] | None) -> None:
    from plastibench.analysis.tables.export import format_tables, render_tables, tables_as_dict
    from plastibench.cli.text_tables import print_tables

    if name == FORMAT:
        print_json(**tables_as_dict(result.tables, columns), damaged=damaged_as_list(result.damaged))
    elif name == "text" and columns is not None:
        print_tables(format_tables(result.tables, columns))
    else:
        click.echo(render_tables(result.tables, name, columns), nl=False)


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause the search for cycles: thousands of runs are millions of values, all of which stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

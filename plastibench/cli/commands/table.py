"""Print the tables of finished runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from plastibench.cli import options
from plastibench.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from plastibench.analysis.tables.table import ResultTable
    from plastibench.workflows.request import Selection


@click.command("table")
@options.finished_selection
@click.option("--format", "format_", default="text", show_default=True, help="text, md, csv, latex or json.")
@click.option("--baseline", help="Method to pair the others with. Default: the suite's.")
@click.option(
    "--style", default="standard", show_default=True, help="standard, full, or paper as in DASH's table 1."
)
@click.option("--columns", help="Columns by name or heading, separated by commas, in place of a style's.")
@click.option(
    "--from", "uri", metavar="URI", help="Read the runs from MLflow alone: an address as for --tracking-uri."
)
def command(
    selection: Selection,
    *,
    format_: str,
    baseline: str | None,
    style: str,
    columns: str | None,
    uri: str | None,
) -> ExitCode:
    """Print the table of finished runs: of a suite, of a grid, or of all in the home folder or the file."""
    from plastibench.analysis.tables.columns import select_columns
    from plastibench.cli.render import check_format
    from plastibench.workflows.finished_runs import references_of
    from plastibench.workflows.table import table

    check_format(format_)
    usual = references_of(selection)
    references = {"baseline": baseline or usual.baseline, "cost_reference": usual.cost_reference}
    chosen = select_columns(style, columns, references)
    # A style is for reading: CSV and JSON have every value unless columns are named.
    shown = None if columns is None and format_ in ("csv", "json") else chosen
    with _gc_paused():
        result = table(selection, baseline, uri)
        if result.tables or not result.damaged:
            click.echo(_text(result.tables, format_, shown), nl=False)
    return ExitCode.FAILURE if result.damaged else ExitCode.SUCCESS


def _text(tables: list[ResultTable], name: str, columns: Sequence[str] | None) -> str:
    from plastibench.analysis.tables.export import format_tables, render_tables
    from plastibench.cli.render import tables_text

    if name == "text" and columns is not None:
        return tables_text(format_tables(tables, columns))
    return render_tables(tables, name, columns)


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

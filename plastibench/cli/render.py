"""TODO."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from plastibench.analysis.tables import Sheet


def show(found: Sequence[Sheet]) -> None:
    """Print tables for people."""
    # Not by rich, which ends the program with an error where nobody reads.
    click.echo(laid_out(found), nl=False)


def laid_out(found: Sequence[Sheet]) -> str:
    """Return tables for people, as wide as the terminal."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as text:
        for shown in found:
            layout = RichTable(title=Text(shown.title), title_justify="left")
            for position, name in enumerate(shown.head):
                layout.add_column(Text(name), justify="left" if position == 0 else "right")
            for row in shown.rows:
                layout.add_row(*(Text(cell.text, style="bold" if cell.strong else "") for cell in row))
            console.print(layout)
            for line in shown.notes:
                console.print(Text(line, style="dim"))
    return text.get()

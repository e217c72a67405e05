"""Tables as text that fits the terminal: columns that do not fit beside the others follow below them."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from plastibench.analysis.tables.text_table import Cell, TextTable

UNLIMITED = 100_000
"""Characters of a line that is not printed on a terminal: nothing is wrapped there."""
GAP = 2
"""Blanks between two columns."""
HEADING_LINES = 3
"""Most lines of a heading."""
MIN_FIRST = 20
"""Characters that the first column keeps, however wide the others are."""


def stdout_console() -> Console:
    """Return a console as wide as the terminal, or without limit if there is none."""
    size = None if sys.stdout.isatty() else UNLIMITED
    return Console(width=size, height=size, highlight=False)  # with one alone a dumb terminal has 80 x 25


def print_text(*renderables: RenderableType) -> None:
    """Print what rich would print. rich itself ends the program if nobody reads the output."""
    console = stdout_console()
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    click.echo(text, nl=False, color=True)  # the console has decided whether there are colors


def plain_table(**looks: Any) -> RichTable:  # noqa: ANN401 - whatever rich takes
    """Return a table without lines between its columns: it is narrower, and easier to copy from."""
    return RichTable(
        box=box.SIMPLE_HEAD,
        padding=(0, GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        **looks,
    )


def print_tables(tables: Sequence[TextTable]) -> None:
    """Print tables for people; what is said below all of one kind is said once, below the last of them."""
    console = stdout_console()
    bold = console.color_system is not None
    parts: list[RenderableType] = []
    for position, table in enumerate(tables):
        parts += ["", "", Text(table.title, style="italic")] if parts else [Text(table.title, style="italic")]
        for block in _blocks(table, console.width, bold=bold):
            parts += ["", block]
        notes = _notes(tables, position, bold=bold)
        parts += ["", *(Text(_wrapped(note, console.width), style="dim") for note in notes)] if notes else []
    print_text(*parts)


def _notes(tables: Sequence[TextTable], position: int, *, bold: bool) -> list[str]:
    """Return the notes of a table without those that a later one of the same columns repeats for all."""
    table = tables[position]
    same = [other for other in tables if other.header == table.header]
    shared = {
        note for note, n in Counter(note for other in same for note in other.notes).items() if n == len(same)
    }
    repeated = shared if same[-1] is not table else set()
    return [_said(note, bold=bold) for note in table.notes if note not in repeated]


def _wrapped(note: str, width: int) -> str:
    """Return a note in lines of which all but the first are indented, to see where the next note begins."""
    if width >= UNLIMITED:
        return note
    return textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False)


def _said(note: str, *, bold: bool) -> str:
    """Return a note on bold cells as one on cells with a star if there is no bold face."""
    return note if bold or not note.startswith("bold:") else f"*{note.removeprefix('bold')}"


def _blocks(table: TextTable, width: int, *, bold: bool) -> Iterator[RichTable]:
    """Yield a table in as many parts as the width asks for, each with the first column."""
    texts = [[_text(cell, bold=bold) for cell in row] for row in table.rows]
    one_line = width >= UNLIMITED
    widths = [
        _width(name, [row[i] for row in texts], one_line=one_line) for i, name in enumerate(table.header)
    ]
    first = _first_width(widths, width)
    for columns in _packed(widths, first, width):
        layout = plain_table()
        for place in (0, *columns):
            layout.add_column(
                Text(table.header[place]),
                justify="left" if place == 0 else "right",
                width=widths[place] if place else first,
                overflow="fold",
                vertical="bottom",
            )
        for row in texts:
            layout.add_row(*(row[place] for place in (0, *columns)))
        yield layout


def _first_width(widths: Sequence[int], width: int) -> int:
    """Return the width of the first column: what others leave, or a third if they do not fit beside it."""
    left = width - sum(GAP + other for other in widths[1:])
    return min(widths[0], left if left >= MIN_FIRST else max(MIN_FIRST, width // 3))


def _packed(widths: Sequence[int], first: int, width: int) -> list[list[int]]:
    """Return the positions of the columns that fit beside the first one, part by part."""
    parts: list[list[int]] = [[]]
    used = first
    for place in range(1, len(widths)):
        if parts[-1] and used + GAP + widths[place] > width:
            parts.append([])
            used = first
        parts[-1].append(place)
        used += GAP + widths[place]
    return parts


def _width(name: str, cells: Sequence[Text], *, one_line: bool) -> int:
    """Return the width of a column: that of its cells, and of its heading in few lines."""
    lines = [name] if one_line else name.split()
    width = max(map(cell_len, [*lines, *(cell.plain for cell in cells)]), default=1)
    while not one_line and len(textwrap.wrap(name, width)) > HEADING_LINES:
        width += 1
    return width


def _text(cell: Cell, *, bold: bool) -> Text:
    if bold:
        return Text(cell.text, style="bold" if cell.significant else "")
    return Text(f"*{cell.text}" if cell.significant else cell.text)

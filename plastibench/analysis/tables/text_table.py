"""A table of texts, as it is shown, and its rendering in Markdown and LaTeX."""

import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

TEXT_WIDTH = 100
"""Columns of the title and the notes of a table at a prompt, at most."""
ABSENT = "absent"
"""Text of a value that was not measured; it is never shown as 0."""
MINUS = re.compile(r"(?<![\w.=-])-(?=\d)")
SPREAD = re.compile(r" (?=[\[(\u00b1])")
LATEX_ESCAPES = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {letter: f"${letter}$" for letter in "<>"}
)


class Cell(NamedTuple):
    """The text of a cell."""

    text: str
    significant: bool = False
    """Whether a test supports the difference that it shows; it is then printed in bold."""


@dataclass(frozen=True)
class TextTable:
    """A table as it is shown, with the notes below it."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    notes: list[str]


def to_markdown(table: TextTable) -> str:
    """Return a table in Markdown."""

    def line(cells: Sequence[Cell]) -> str:
        texts = [cell.text.replace("|", "\\|") for cell in cells]
        bold = (f"**{text}**" if cell.significant else text for text, cell in zip(texts, cells, strict=True))
        return f"| {' | '.join(bold)} |"

    head = [line([Cell(name) for name in table.header])]
    head.append(line([Cell("---"), *[Cell("---:")] * (len(table.header) - 1)]))
    notes = [f"{note}  " for note in table.notes]
    return "\n".join([f"### {table.title}", "", *head, *map(line, table.rows), "", *notes, ""])


def to_latex(table: TextTable) -> str:
    """Return a table in LaTeX; it needs the package booktabs."""

    def line(cells: Sequence[Cell]) -> str:
        texts = [_escape(cell.text).replace("+-", r"$\pm$") for cell in cells]
        bold = (
            rf"\textbf{{{text}}}" if cell.significant else text
            for text, cell in zip(texts, cells, strict=True)
        )
        return " & ".join(bold) + r" \\"

    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule"]
    lines += [line([Cell(name) for name in table.header]), r"\midrule", *map(line, table.rows)]
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in table.notes), r"\end{table}", ""]
    return "\n".join(lines)


def to_plain(table: TextTable) -> str:
    """Return a table as aligned text; an asterisk stands for bold."""
    lines = [table.header, *([f"{text}*" if bold else text for text, bold in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(
            text.rjust(width) if position else text.ljust(width)
            for position, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    notes = (note.replace("bold: ", "*: ", 1) if note.startswith("bold: ") else note for note in table.notes)
    width = min(TEXT_WIDTH, shutil.get_terminal_size((TEXT_WIDTH, 24)).columns)
    wrapped = (textwrap.fill(text, max(20, width)) for text in (table.title, *notes))
    return "\n".join([next(wrapped), "", *aligned, "", *wrapped, ""])


def typeset(text: str) -> str:
    """Return a text with plus-minus and minus signs instead of the keyboard's."""
    return MINUS.sub("\N{MINUS SIGN}", text.replace("+-", "\N{PLUS-MINUS SIGN}"))


def spread_in_small_print(text: str) -> Markup:
    """Return the text of a cell in HTML, with its standard deviation or interval in small print."""
    number, *spread = SPREAD.split(typeset(text), maxsplit=1)
    return Markup("{}").format(number) + (Markup("<small> {}</small>").format(*spread) if spread else "")


def _escape(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(letter, letter) for letter in text)


def format_known(value: float | None, format_value: Callable[[float], str]) -> str:
    """Return a number as text, or "absent" for None."""
    return ABSENT if value is None else format_value(value)


def format_by_hardware(
    values: Mapping[str, float | None], hardware: Sequence[str], format_value: Callable[[float], str]
) -> str:
    """Return one number for each hardware, marked (h1), (h2), ... if the table has several."""
    if len(hardware) < 2:
        return format_known(next(iter(values.values()), None), format_value)
    if all(value is None for value in values.values()):
        return ABSENT
    return " / ".join(
        f"{format_known(value, format_value)} (h{hardware.index(name) + 1})" for name, value in values.items()
    )


def hardware_note(hardware: Sequence[str]) -> list[str]:
    """Return what h1, h2, ... are, if the table has several kinds of hardware."""
    if len(hardware) < 2:
        return []
    names = "; ".join(f"h{number}: {name}" for number, name in enumerate(hardware, start=1))
    return [f"seconds, memory and energy are listed by hardware and never averaged over it: {names}"]

"""All figures of result tables, and writing them to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.console import Progress, no_progress
from plastibench.errors import RequestError, unknown
from plastibench.system.files import write_atomic

if TYPE_CHECKING:
    from plastibench.analysis.figures.style import FigureSpec
    from plastibench.analysis.tables.table import ResultTable

FORMATS = ("svg", "pdf", "png")


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list such as "svg,pdf". Raises RequestError if one is unknown."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in FORMATS:
            raise unknown("figure format", name, FORMATS)
    if not names:
        raise RequestError(f"{text!r} holds no figure format (there are: {', '.join(FORMATS)})")
    return names


def all_figures(tables: Sequence[ResultTable]) -> Iterator[FigureSpec]:
    """Yield the figures of each setting, then those over all settings."""
    from plastibench.analysis.figures import aggregate, per_setting

    methods = sorted({row.method for table in tables for row in table.rows})
    for number, table in enumerate(tables, 1):
        yield from per_setting.setting_figures(table, f"setting-{number}", methods)
    yield from aggregate.aggregate_figures(tables, methods)


def save_figures(
    tables: Sequence[ResultTable],
    folder: Path,
    formats: Sequence[str] = ("svg",),
    *,
    dark: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write every figure in every format, and return the files. Raises RequestError if that fails.

    With `dark` each figure is also written as NAME-dark, for a dark background.
    """
    from plastibench.analysis.figures.render import render

    todo = list(product(all_figures(tables), formats, (False, True) if dark else (False,)))
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with progress(len(todo)) as advance:
            for figure, format, on_dark in todo:
                files.append(folder / f"{figure.name}{'-dark' if on_dark else ''}.{format}")
                write_atomic(files[-1], render(figure, format, dark=on_dark))
                advance(1)
    except OSError as error:
        raise RequestError(f"figures cannot be written to {folder}: {error.strerror}") from error
    return files

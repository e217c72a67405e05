"""Pictures of tables, drawn by matplotlib: the same runs give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.console import Progress, no_progress
from plastibench.errors import RequestError, unknown

if TYPE_CHECKING:
    from plastibench.analysis.figures.style import Picture
    from plastibench.analysis.tables.table import ResultTable

FORMATS = ("svg", "pdf", "png")


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of "svg,pdf". Raises RequestError for one that is not known, or none."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in FORMATS:
            raise unknown("figure format", name, FORMATS)
    if not names:
        raise RequestError(f"{text!r} holds no figure format (there are: {', '.join(FORMATS)})")
    return names


def pictures(found: Sequence[ResultTable]) -> Iterator[Picture]:
    """Yield every picture that the tables allow: of each setting, then over settings."""
    from plastibench.analysis.figures import aggregate, per_setting

    methods = sorted({row.method for table in found for row in table.rows})
    for number, table in enumerate(found, 1):
        yield from per_setting.pictures(table, f"setting-{number}", methods)
    yield from aggregate.pictures(found, methods)


def save(
    found: Sequence[ResultTable],
    folder: Path,
    forms: tuple[Sequence[str], bool],
    waiting: Progress = no_progress,
) -> list[Path]:
    """Write every picture in every format, and return the files. Raises RequestError where it cannot.

    `forms` are the formats, and whether each picture is written a second time, for a dark background,
    as NAME-dark. `waiting` shows how many are written.
    """
    from plastibench.analysis.figures.style import drawn
    from plastibench.system.files import write_atomic

    formats, night = forms
    todo = list(product(pictures(found), formats, (False, True) if night else (False,)))
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with waiting(len(todo)) as advance:
            for picture, form, dark in todo:
                files.append(folder / f"{picture.name}{'-dark' if dark else ''}.{form}")
                write_atomic(files[-1], drawn(picture, form, night=dark))
                advance(1)
    except OSError as error:
        raise RequestError(f"figures cannot be written to {folder}: {error.strerror}") from error
    return files

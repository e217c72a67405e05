"""Write the page and the pictures of what is finished."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from plastibench.analysis.figures import save
from plastibench.analysis.report.page import page
from plastibench.analysis.tables import tables
from plastibench.console import progress
from plastibench.errors import RequestError
from plastibench.system.files import write_atomic
from plastibench.workflows.request import Request
from plastibench.workflows.table import DONE, SOME_FAILED, finished

EVERYTHING = "All finished runs"


@dataclass(frozen=True)
class FigureOptions:
    """Pictures that are wanted as files, too."""

    folder: Path
    formats: Sequence[str]
    night: bool
    """Whether each is wanted for a dark background as well."""


def write_report(
    request: Request, out: Path | None, figures: FigureOptions | None, *, everything: bool
) -> int:
    """Write the report of a suite, of a grid, or of everything in a home; return the exit status.

    Raises RequestError where nothing is finished, or where a file cannot be written.
    """
    selection = finished(request, everything=everything)
    if not selection.records:
        return SOME_FAILED
    name = EVERYTHING if everything else request.leaderboard.name
    path = out or Path(f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)}.html")
    _prepare(path)
    found = tables(selection.records, selection.baseline, selection.cost_reference)
    _write(path, page(found, name, partial(progress, "drawing the page's pictures")))
    _say(f"report: {path.resolve()}")
    if figures is not None:
        forms = (figures.formats, figures.night)
        files = save(found, figures.folder, forms, partial(progress, "drawing figures"))
        _say(f"figures: {len(files)} files in {figures.folder.resolve()}")
    return SOME_FAILED if selection.damaged else DONE


def _prepare(path: Path) -> None:
    """Refuse before the work what would fail after it."""
    if path.is_dir():
        raise RequestError(f"--out {path} is a folder: name a file in it, such as {path / 'report.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RequestError:
    return RequestError(f"report {path} cannot be written: {error.strerror}")


def _say(line: str) -> None:
    Console(stderr=True).print(Text(line), soft_wrap=True)

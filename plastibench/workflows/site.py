"""A static site of boards, made from records files: no server, and nothing is loaded from a network."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from plastibench.analysis.report.board import BoardLinks
from plastibench.analysis.report.page import render_page
from plastibench.analysis.report.site import Board, render_index
from plastibench.console import progress
from plastibench.errors import RequestError, writing
from plastibench.runner.workspace import Workspace
from plastibench.store.records_file import SUFFIX
from plastibench.system.files import write_atomic
from plastibench.workflows.finished_runs import FinishedRuns, finished_runs
from plastibench.workflows.kept_plugins import kept_plugins
from plastibench.workflows.request import Selection

TITLE = "Boards"
PAGES, RECORDS = "boards", "records"
"""Folders of the site."""


@dataclass(frozen=True)
class SiteResult:
    """What was written."""

    index: Path
    boards: tuple[str, ...]
    num_bytes: int


def site(source: Path, out: Path) -> SiteResult:
    """Write the index, a page for each records file, and the files themselves; other files there stay.

    `source` is a folder with records files, or one that has them in a folder "records", such as results/.
    Raises RequestError if there are none, one is damaged, or the site cannot be written.
    """
    paths = _records_files(source)
    names = [path.name.removesuffix(SUFFIX) for path in paths]
    selections = [Selection(workspace=Workspace(), records=(path,)) for path in paths]
    found = [finished_runs(selection) for selection in selections]
    boards = [
        Board(name, f"{PAGES}/{quote(name)}.html", f"{RECORDS}/{quote(path.name)}", runs.tables)
        for name, path, runs in zip(names, paths, found, strict=True)
    ]
    with writing(f"site {out}"):
        for folder in (out / PAGES, out / RECORDS):
            folder.mkdir(parents=True, exist_ok=True)
        pages = [
            _page(selection, runs, board)
            for selection, runs, board in zip(selections, found, boards, strict=True)
        ]
        files = [*(out / PAGES / f"{name}.html" for name in names), out / "index.html"]
        for path, text in zip(files, [*pages, render_index(boards, TITLE)], strict=True):
            write_atomic(path, text)
        for path in paths:
            if path.resolve() != (out / RECORDS / path.name).resolve():
                shutil.copyfile(path, out / RECORDS / path.name)
    size = sum(path.stat().st_size for path in (*files, *(out / RECORDS / path.name for path in paths)))
    return SiteResult(files[-1], tuple(names), size)


def _records_files(source: Path) -> Sequence[Path]:
    for folder in (source / RECORDS, source):
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        if paths:
            return paths
    raise RequestError(f"no records files (NAME{SUFFIX}) in {source} or {source / RECORDS}")


def _page(selection: Selection, runs: FinishedRuns, board: Board) -> str:
    (path,) = selection.records
    links = BoardLinks("../index.html", f"../{board.records}", shlex.quote(path.name))
    plugins = kept_plugins(selection.source, runs.records)
    return render_page(runs.tables, board.name, partial(progress, f"drawing {board.name}"), plugins, links)

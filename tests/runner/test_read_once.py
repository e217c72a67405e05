"""Runs that follow one another in a process read and decode their data once: counted by the files opened."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.commands import command

WATCHED: dict[Path, Counter[Path]] = {}
SMALL = ("stages=2", "max_epochs=1", "width=4")


@cache
def install() -> None:
    """Count from now on, until this process ends, the files that are opened in watched folders."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and WATCHED and isinstance(arguments[0], str | Path):
            path = Path(arguments[0])
            for folder, opened in WATCHED.items():
                opened[path] += path.is_relative_to(folder)

    sys.addaudithook(hook)


@contextmanager
def opened_in(folder: Path) -> Iterator[Counter[Path]]:
    """Yield how often each file of a folder is opened until the end."""
    install()
    WATCHED[folder] = Counter()
    try:
        yield WATCHED[folder]
    finally:
        del WATCHED[folder]


def images(folder: Path) -> tuple[str, ...]:
    """Write images of two classes; return the words that name them."""
    for number in range(24):
        path = folder / "ab"[number % 2] / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, number, 0)).save(path)
    return "--task", "image_folder", "--model", "small_resnet", "--set", f"folder={folder}"


def rows(folder: Path) -> tuple[str, ...]:
    """Write a table; return the words that name it."""
    folder.mkdir()
    lines = ["x,y,label", *(f"{number},{-number},{number % 2}" for number in range(24))]
    (folder / "mine.csv").write_text("\n".join(lines))
    return "--task", "table", "--set", f"file={folder / 'mine.csv'}"


@pytest.mark.heavy
@pytest.mark.parametrize("write", [images, rows])
def test_each_file_is_opened_as_often_for_three_runs_as_for_one(write: Any, tmp_path: Path) -> None:
    found = []
    for seeds in (1, 3):
        folder = tmp_path / str(seeds)
        words = [*write(folder), *(word for setting in SMALL for word in ("--set", setting))]
        words += ["--method", "warm", "--jobs", "1", "--no-mlflow", "--no-estimate"]
        with opened_in(folder) as opened:
            done = command("run", "--home", tmp_path / "home", "--seeds", seeds, *words)
            assert done.status == 0, done.err
            found.append(sorted(times for times in opened.values() if times))
    assert found[0] == found[1]
    assert found[0]

"""Which cases of many alike the usual test run tries; `--slow` tries all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest

from plastibench.plugins.registry import Registry

Case = Any
"""A parameter set of pytest."""


def pairs(
    columns: Sequence[str], each: int, *, quick: Collection[tuple[str, str]] = (), whole: Collection[str] = ()
) -> list[Case]:
    """Return every pair of a method and one of `columns`, as parameters for pytest.

    Args:
        columns: What each method is tried with, such as models.
        each: With how many of them a method is tried in the usual run. Method by method the choice moves on,
            so that each column gets its share of methods; the other pairs are marked slow.
        quick: Pairs that are part of `make test-fast`; those of the usual run are marked heavy.
        whole: Methods that are tried with all columns in the usual run.

    """
    found = []
    for row, method in enumerate(Registry().names("method")):
        chosen = {columns[(row + step) % len(columns)] for step in range(each)}
        for column in columns:
            usual = column in chosen or method in whole
            mark = pytest.mark.heavy if usual else pytest.mark.slow
            found.append(pytest.param(method, column, marks=[] if (method, column) in quick else [mark]))
    return found


def some_of(names: Iterable[str], usual: Collection[str] | int) -> list[Case]:
    """Return every name as a parameter, marked slow unless it is part of the usual run.

    Args:
        names: The cases.
        usual: Those of the usual run, or a number: every so many cases.

    """
    listed = list(names)
    chosen = set(listed[::usual] if isinstance(usual, int) else usual)
    assert chosen <= set(listed)
    marks = {True: pytest.mark.heavy, False: pytest.mark.slow}
    return [pytest.param(name, marks=marks[name in chosen]) for name in listed]

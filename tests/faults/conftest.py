"""How often each fault is tried, and the table of results."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import tracking
from support.faults import Trial

from plastibench.runner.provenance import commit
from plastibench.system.cpu import num_cores, processor_name

COUNTS = pytest.StashKey[dict[str, list[int]]]()
"""By fault, how often it was tried and survived."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.definition.get_closest_marker("times")
    if times is not None:
        how = metafunc.config.getoption("--faults")
        slow = times.kwargs.get("slow", 0) if how == "short" else 0
        marks = [(number, [pytest.mark.slow] * (number < slow)) for number in range(times.kwargs[how])]
        metafunc.parametrize("number", [pytest.param(number, marks=mark) for number, mark in marks])


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial:
    """Return a context manager that counts the tries of a fault and those that are survived."""
    counts = request.config.stash.setdefault(COUNTS, {})

    @contextmanager
    def tried(fault: str) -> Iterator[None]:
        count = counts.setdefault(fault, [0, 0])
        count[0] += 1
        try:
            yield
        except (pytest.skip.Exception, KeyboardInterrupt):  # not tried to the end
            count[0] -= 1
            raise
        count[1] += 1

    return tried


@pytest.fixture(scope="session")
def database() -> bytes:
    """Return an MLflow database without runs."""
    return tracking.empty_database().read_bytes()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts, path = config.stash.get(COUNTS, {}), config.getoption("--faults-table")
    if not counts or (path is None and config.getoption("--faults") == "short"):
        return
    rows = [
        f"| {name} | {tried} | {survived} | {tried - survived} |"
        for name, (tried, survived) in counts.items()
        if tried
    ]
    table = "\n".join(["| fault | times tried | survived | lost |", "|---|---:|---:|---:|", *rows])
    terminalreporter.write_line(table)
    if path is not None:
        Path(path).write_text(_page(table), encoding="utf-8")


def _page(table: str) -> str:
    where = f"{processor_name()}, {num_cores()} cores; Python {platform.python_version()}; commit {commit()}"
    return (
        "# Faults\n\nReal runs in processes of their own, disturbed. Survived: no traceback, no hang, and "
        "every weight and row is that of a run\nwithout faults, bit for bit, and none is lost or invented. "
        f"Made by `make faults` on {datetime.now(UTC):%Y-%m-%d} ({where}).\n\n{table}\n"
    )

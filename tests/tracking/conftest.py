"""A copy of an MLflow database without runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import tracking

from plastibench.tracking import DATABASE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in tracking.QUIET:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def empty_database() -> Callable[[Path], None]:
    """Return a function that puts an empty MLflow database into a home folder."""
    template = tracking.empty_database()

    def copy(home: Path, name: str = DATABASE) -> None:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, home / name)

    return copy

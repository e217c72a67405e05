"""An MLflow database without runs, which takes seconds to make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tracking import QUIET

from plastibench.tracking import DATABASE, TrackingServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in QUIET:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return a function that puts an empty MLflow database into a home folder."""
    template = tmp_path_factory.mktemp("template")
    TrackingServer.from_uri(None, template).connect()

    def copy(home: Path, name: str = DATABASE) -> None:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(template / DATABASE, home / name)

    return copy

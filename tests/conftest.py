"""What all tests share: a sandbox, one thread, a small real task, and where real data are.

Nothing here imports torch at the top: pytest-xdist's first process reads this file and runs no test.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.browser import no_browser
from support.workers import enter_sandbox, heed_interrupts

if TYPE_CHECKING:
    from plastibench.plugins.registry import Registry
    from plastibench.plugins.task import Task


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(enter_sandbox())
    heed_interrupts()
    gc.disable()  # collecting tests imports much and leaves nothing to free


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported stays: no later collection need look at it
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def registry() -> Registry:
    from plastibench.plugins.registry import Registry

    return Registry()


@pytest.fixture
def task(registry: Registry) -> Task:
    from support.tasks import small_digits

    return small_digits(registry)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("PLASTIBENCH_DATA")
    if not folder:
        pytest.skip("PLASTIBENCH_DATA is not set: no folder of real data to test on")
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption(
        "--faults", choices=("short", "full"), default="short", help="how often faults are tried"
    )
    parser.addoption("--faults-table", type=Path, help="write there what became of the faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    reasons = {
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
        "cuda": None if torch.cuda.is_available() else "needs a CUDA device",
        "hpu": None if hasattr(torch, "hpu") else "needs an Intel Gaudi card",
        "browser": no_browser(),
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))

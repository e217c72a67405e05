"""`plastibench ui` in a real browser: the runs of a leaderboard, the curves of a run, the report beside them.

Where PLASTIBENCH_SCREENSHOTS names a folder, what was looked at is kept there as pictures.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from support.browser import Visit
from support.commands import command, program
from support.reports import a_home, some_runs
from support.tracking import QUIET, WHEN

pytestmark = [pytest.mark.heavy, pytest.mark.browser, *(pytest.mark.filterwarnings(words) for words in QUIET)]

Open = Callable[..., Visit]
PATIENCE = 60_000
"""Milliseconds for MLflow's page, which is a large program, on a busy machine."""


class Shown(NamedTuple):
    """A page that is being served."""

    address: str
    leaderboard: str
    """The link that was printed."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Serve a home folder of a few runs, with a report beside them."""
    home = tmp_path_factory.mktemp("home")
    times = {"started": WHEN, "finished": WHEN}
    a_home(home, [replace(run, provenance={**run.provenance, **times}) for run in some_runs(2)])
    assert command("sync", "--home", home, "--report").status == 0
    words = program("ui", "--home", home)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address, link = server.stdout.readline().split()[1], server.stdout.readline().split()[-1]
        yield Shown(address, link)
        server.send_signal(signal.SIGINT)


def keep(visit: Visit, name: str) -> None:
    folder = os.environ.get("PLASTIBENCH_SCREENSHOTS")
    if folder:
        visit.page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_leaderboard_lists_its_runs_with_their_main_columns(shown: Shown, visit: Open) -> None:
    seen = visit(shown.leaderboard)
    for method in ("warm", "cold", "mine"):
        seen.page.get_by_text(f"{method} seed 0").first.wait_for(timeout=PATIENCE)
    for column in ("test_accuracy_mean", "total_passes"):
        seen.page.get_by_role("columnheader", name=column).first.wait_for(timeout=PATIENCE)
    keep(seen, "leaderboard")


def test_the_page_of_a_run_shows_its_curves(shown: Shown, visit: Open) -> None:
    seen = visit(shown.leaderboard)
    seen.page.get_by_text("warm seed 0").first.click(timeout=PATIENCE)
    seen.page.get_by_text("test_accuracy_mean").first.wait_for(timeout=PATIENCE)
    keep(seen, "run")
    seen.page.get_by_role("tab", name="Model metrics").click(timeout=PATIENCE)
    seen.page.locator(".plotly, .js-plotly-plot").first.wait_for(timeout=PATIENCE)
    keep(seen, "curves")


def test_the_report_opens_beside_its_leaderboard(shown: Shown, visit: Open) -> None:
    seen = visit(shown.leaderboard)
    seen.page.get_by_role("gridcell").get_by_text("some_task", exact=True).click(timeout=PATIENCE)
    seen.page.get_by_role("tab", name="Artifacts").click(timeout=PATIENCE)
    seen.page.get_by_text("report.html").first.click(timeout=PATIENCE)
    seen.page.frame_locator("iframe").locator("table").first.wait_for(timeout=PATIENCE)
    keep(seen, "report")

"""`plastibench ui` in a real browser: the runs of a leaderboard, the curves of a run, the report beside them.

Where PLASTIBENCH_SCREENSHOTS names a folder, what was looked at is kept there as pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from support.browser import Visit
from support.commands import command, program
from support.reports import a_home, some_runs
from support.tracking import QUIET, WHEN, empty_database

from plastibench.tracking import DATABASE

pytestmark = [pytest.mark.heavy, pytest.mark.browser, *(pytest.mark.filterwarnings(words) for words in QUIET)]

Open = Callable[..., Visit]
ROOT = Path(__file__).parents[2]
OPENED_ONCE = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
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
    shutil.copy(empty_database(), home / DATABASE)
    times = {"started": WHEN, "finished": WHEN}
    a_home(home, [replace(run, provenance={**run.provenance, **times}) for run in some_runs(2)])
    assert command("sync", "--home", home, "--report").status == 0
    words = program("ui", "--home", home)
    path = os.pathsep.join([str(declared(tmp_path_factory.mktemp("installed"))), *sys.path])
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address, link = server.stdout.readline().split()[1], server.stdout.readline().split()[-1]
        yield Shown(address, link)
        server.send_signal(signal.SIGINT)


def declared(folder: Path) -> Path:
    """Return a folder with the entry points of this checkout, whatever is installed."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    info = folder / "plastibench-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plastibench\nVersion: 0\n", encoding="utf-8")
    lines = [
        f"[{group}]\n{name} = {value}\n" for group, named in points.items() for name, value in named.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def keep(visit: Visit, name: str) -> None:
    folder = os.environ.get("PLASTIBENCH_SCREENSHOTS")
    if folder:
        visit.page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_leaderboard_lists_aggregates_first_and_then_runs_with_what_people_compare(
    shown: Shown, visit: Open
) -> None:
    seen = visit(shown.leaderboard)
    for method in ("warm", "cold", "mine"):
        seen.page.get_by_text(f"{method} seed 0").first.wait_for(timeout=PATIENCE)
    for column in ("average_accuracy", "gain_over_warm"):
        seen.page.get_by_role("columnheader", name=column, exact=True).first.wait_for(timeout=PATIENCE)
    keep(seen, "leaderboard")
    names = seen.page.locator("a", has_text=re.compile(r"^\d+ seeds: |seed \d$"))
    listed = [text.strip() for text in names.all_inner_texts() if text.strip()]
    assert {text.partition(":")[0] for text in listed[:3]} == {"2 seeds"}
    assert not [text for text in listed[3:] if "seeds:" in text]


@pytest.mark.slow
def test_the_page_opens_without_the_panel_of_the_assistant(shown: Shown, visit: Open) -> None:
    seen = visit(shown.leaderboard)
    seen.page.get_by_text("seeds: warm").first.wait_for(timeout=PATIENCE)
    kept = seen.page.evaluate(f"localStorage.getItem('{OPENED_ONCE}')")
    assert kept == "true"
    assert seen.page.get_by_placeholder("Ask a question").count() == 0


@pytest.mark.slow
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

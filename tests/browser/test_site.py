"""The site of boards in a real browser: fits, asks for nothing, and its rows can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.browser import VIEWS, Visit
from support.commands import command
from support.recorded import a_file
from support.reports import some_runs

from plastibench.store.tuned_settings import TunedSettings

pytestmark = [pytest.mark.heavy, pytest.mark.browser]

Open = Callable[..., Visit]
RESULTS = Path(__file__).parents[2] / "results"
RECORDS = sorted((RESULTS / "records").glob("*.jsonl.xz"))
METHODS = ("warm", "cold", "a_method_with_quite_a_long_name")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a site of two boards lies."""
    folder = tmp_path_factory.mktemp("site")
    for number in (1, 2):
        runs = some_runs(3, METHODS, task=f"task_{number}")
        tuned = {runs[2].variant_id: TunedSettings("s", 8, 3, passes=12345.0)} if number == 2 else {}
        a_file(folder / f"board-{number}.jsonl.xz", runs, tuned=tuned)
    assert command("site", folder, "--out", folder / "site").status == 0
    return folder / "site"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the site of the published boards lies."""
    folder = tmp_path_factory.mktemp("published")
    assert command("site", RESULTS, "--out", folder).status == 0
    return folder


PAGES = ["index.html", *(f"boards/{path.name.partition('.')[0]}.html" for path in RECORDS)]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [VIEWS[0], VIEWS[-1]])
@pytest.mark.parametrize("page", PAGES)
def test_each_published_page_fits_and_has_no_accessibility_error(
    visit: Open, published: Path, page: str, width: int, scheme: str
) -> None:
    found = visit((published / page).as_uri(), width, scheme)
    assert found.overflow() <= 0
    assert found.requests == [(published / page).as_uri()]
    assert found.violations() == []
    assert found.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [VIEWS[0], VIEWS[-1]])
@pytest.mark.parametrize("page", ["index.html", "boards/board-1.html"])
def test_each_page_fits_loads_nothing_and_has_no_accessibility_error(
    visit: Open, folder: Path, page: str, width: int, scheme: str
) -> None:
    found = visit((folder / page).as_uri(), width, scheme)
    for details in found.page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert found.overflow() <= 0
    assert found.requests == [(folder / page).as_uri()]
    assert found.violations() == []
    assert found.complaints == []


def test_rows_are_chosen_by_the_values_of_columns_and_by_name(visit: Open, folder: Path) -> None:
    found = visit((folder / "index.html").as_uri()).page
    rows = found.locator("table.choices tbody tr:visible")
    assert rows.count() == 2 * len(METHODS)
    found.get_by_label("task", exact=True).select_option("task_2")
    assert rows.count() == len(METHODS)
    assert found.get_by_role("status").inner_text() == "3 of 6 rows"
    found.get_by_label("settings", exact=True).select_option("tuned, 8 trials")
    assert rows.count() == 1
    assert "12,345" in rows.inner_text()
    found.get_by_label("settings", exact=True).select_option("all")
    found.get_by_label("method", exact=True).fill("LONG")
    assert rows.count() == 1
    rows.get_by_role("link").click()
    details = found.locator("details[open]")
    assert found.url.partition("#")[0].endswith("/boards/board-2.html")
    assert "plastibench run --task task_2" in details.inner_text()
    found.get_by_role("link", name="All boards").click()
    assert found.title() == "Boards: plastibench"

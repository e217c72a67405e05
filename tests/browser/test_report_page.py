"""The report in a real browser: fits, asks for nothing, works by keyboard, and axe finds nothing wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.browser import NARROW, VIEWS, Visit
from support.reports import HOSTILE, a_run, some_runs

from plastibench.analysis.report.page import render_page
from plastibench.analysis.tables.table import build_tables

pytestmark = [pytest.mark.heavy, pytest.mark.browser]

Open = Callable[..., Visit]
METHODS = ("warm", "cold", "dash", "a_method_with_quite_a_long_name")


def written(folder: Path, text: str) -> str:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return where a page of several settings lies."""
    runs = [run for number in range(5) for run in some_runs(4, METHODS, task=f"task_{number}")]
    text = render_page(build_tables(runs, "warm", "cold"), "All finished runs")
    return written(tmp_path_factory.mktemp("report"), text)


def shown(visit: Visit) -> list[str]:
    """Return the methods of the first table, in the order and choice that a reader sees."""
    rows = visit.page.locator("table.results").first.locator("tbody tr:visible th")
    return [text.strip() for text in rows.all_inner_texts()]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [pytest.param(*view, marks=[pytest.mark.slow] if view[1] == "light" else []) for view in VIEWS],
)
def test_the_page_fits_loads_nothing_and_has_no_accessibility_error(
    visit: Open, address: str, width: int, scheme: str
) -> None:
    found = visit(address, width, scheme)
    assert found.overflow() <= 0
    assert found.requests == [address]
    assert found.violations() == []
    for details in found.page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert found.overflow() <= 0
    assert found.violations() == []
    assert found.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_dark_if_the_reader_prefers_dark(visit: Open, address: str, scheme: str) -> None:
    found = visit(address, scheme=scheme).page
    paper = found.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    ink = found.locator(".plot text").first.evaluate("element => getComputedStyle(element).fill")
    assert ink == {"light": "rgb(27, 31, 36)", "dark": "rgb(232, 234, 237)"}[scheme]


def test_a_column_is_sorted_with_the_keyboard_alone(visit: Open, address: str) -> None:
    found = visit(address)
    head = found.page.locator("table.results").first.locator("thead th").nth(2)
    before = shown(found)
    orders = []
    head.get_by_role("button").focus()
    for key in ("Enter", "Space"):
        found.page.keyboard.press(key)
        orders.append((head.get_attribute("aria-sort"), shown(found)))
    (up, rising), (down, falling) = orders
    assert (up, down) == ("ascending", "descending")
    assert rising == falling[::-1]
    assert sorted(rising) == sorted(before)


def test_the_keyboard_reaches_the_filter_and_it_narrows_the_table(visit: Open, address: str) -> None:
    found = visit(address)
    field = found.page.get_by_role("searchbox").first
    for _ in range(60):
        found.page.keyboard.press("Tab")
        if field.evaluate("element => element === document.activeElement"):
            break
    found.page.keyboard.type("DA")
    assert shown(found) == ["dash"]
    assert found.page.get_by_role("status").first.inner_text() == f"1 of {len(METHODS)}"


def test_the_element_with_the_focus_has_an_outline(visit: Open, address: str) -> None:
    found = visit(address).page
    for _ in range(40):
        found.keyboard.press("Tab")
        outline = found.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", found.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_every_row_links_to_its_runs_settings_and_command(visit: Open, address: str) -> None:
    found = visit(address).page
    links = found.locator("table.results tbody th a")
    assert links.count() == 5 * len(METHODS)
    for link in links.all():
        target = found.locator(f"details[open][id='{(link.get_attribute('href') or '')[1:]}']")
        link.focus()
        found.keyboard.press("Enter")
        target.wait_for(timeout=5000)
        assert target.locator("tbody tr").count() == 4
        said = target.inner_text()
        assert re.search(r"\bstrength=1\b", said)
        assert "plastibench run --task task_" in said


def test_a_table_scrolls_in_its_own_box_and_keeps_its_first_column(visit: Open, address: str) -> None:
    found = visit(address, NARROW).page
    box = found.locator(".scroll", has=found.locator("table.results")).first
    first = box.locator("tbody th").first
    before = first.bounding_box()
    moved = box.evaluate("element => { element.scrollLeft = 200; return element.scrollLeft; }")
    assert moved == 200
    assert first.bounding_box() == before
    assert before is not None
    assert before["width"] < NARROW / 2


def test_the_printed_page_is_light_and_shows_its_commands(visit: Open, address: str) -> None:
    found = visit(address, scheme="dark").page
    command = found.locator("details pre").first
    assert command.evaluate("element => element.checkVisibility()") is False
    found.emulate_media(media="print")
    assert found.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert command.evaluate("element => element.checkVisibility()") is True


def test_hostile_names_run_no_script(visit: Open, tmp_path: Path) -> None:
    runs = [a_run("warm", 0), a_run(HOSTILE, 0, note=HOSTILE), a_run(HOSTILE, 0, task=HOSTILE)]
    found = visit(written(tmp_path, render_page(build_tables(runs, "warm"), HOSTILE)))
    assert found.page.title() == f"{HOSTILE}: plastibench"
    assert found.complaints == []
    assert found.page.locator("script").count() == 1
    assert HOSTILE in shown(found)


def test_negative_numbers_are_sorted_as_numbers_and_absent_ones_last(visit: Open, address: str) -> None:
    found = visit(address).page
    table = found.locator("table.results").first
    heads = table.locator("thead th").all_inner_texts()
    place = next(place for place, text in enumerate(heads) if text.startswith("gain over warm"))
    button = table.locator("thead th").nth(place).get_by_role("button")
    orders = []
    for _ in ("up", "down"):
        button.click()
        orders.append(table.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts())
    rising, falling = ([_number(text) for text in order[:-1]] for order in orders)
    assert rising == sorted(rising) == falling[::-1]
    assert min(rising) < 0
    assert [order[-1] for order in orders] == ["-", "-"]


def _number(text: str) -> float:
    return float(text.split(maxsplit=1)[0].replace("\N{MINUS SIGN}", "-"))

"""The documentation as its reader has it: files without a server, narrow and wide, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.blocks import ROOT
from support.browser import NARROW, WIDE, Visit
from support.commands import child

pytestmark = [pytest.mark.browser, pytest.mark.heavy]
PAGES = ("docs/index", "docs/statistics", "docs/architecture")
"""A list of links, wide tables with code, and a picture: what all pages are made of."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    some = ",".join(f"{page}.md" for page in PAGES)
    words = ("-m", "sphinx", "--quiet", "--define", f"include_patterns={some}", "-c", str(ROOT / "docs"))
    done = child(*words, str(ROOT), str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("width", "scheme"), [(NARROW, "light"), pytest.param(WIDE, "dark", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_asks_for_nothing_and_can_be_read_by_all(
    visit: Callable[..., Visit], site: Path, page: str, width: int, scheme: str
) -> None:
    seen = visit((site / f"{page}.html").as_uri(), width=width, scheme=scheme)
    assert seen.overflow() <= 0
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert seen.complaints == []
    # The theme has two sidebars without names, which is no serious violation.
    assert [text for text in seen.violations() if not text.startswith("landmark-unique")] == []


def test_the_search_finds_pages_without_a_server(visit: Callable[..., Visit], site: Path) -> None:
    seen = visit(f"{(site / 'search.html').as_uri()}?q=bootstrap")
    found = seen.page.locator("#search-results li a").first
    found.wait_for()
    assert "Statistics" in (found.text_content() or "")
    assert seen.complaints == []


def test_the_first_page_leads_to_the_index(visit: Callable[..., Visit], site: Path) -> None:
    seen = visit((site / "index.html").as_uri())
    seen.page.wait_for_url("**/docs/index.html")
    assert seen.page.title() == "plastibench"

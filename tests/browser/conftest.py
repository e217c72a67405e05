"""A browser for the tests of pages: one process a module, a fresh profile for each visit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from support.browser import WIDE, Visit, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a running Chromium; a module at a time, as its event loop bars others from this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its crash reports and certificates are written to the home folder, whatever profile it uses.
        home = {"HOME": str(tmp_path_factory.mktemp("chromium"))}
        browser = playwright.chromium.launch(executable_path=chromium(), env={**os.environ, **home})
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Yield what opens an address: `visit(url, width=360, scheme="dark")`."""
    contexts = []

    def opened(url: str, width: int = WIDE, scheme: str = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        found = Visit(context.new_page())
        found.listen()
        found.page.goto(url)
        return found

    yield opened
    for context in contexts:
        context.close()

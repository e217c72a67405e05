"""A page in Chromium as a reader has it: how wide, light or dark, what it asked for and complained of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NARROW, WIDE = 360, 1440
VIEWS = [(width, scheme) for width in (NARROW, WIDE) for scheme in ("light", "dark")]
"""What every page is looked at in: a telephone and a desk, by day and by night."""


def chromium() -> str | None:
    """Return the path of an installed Chromium; playwright's own download is not asked for."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def no_browser() -> str | None:
    """Return why pages cannot be looked at here, or None."""
    if chromium() is None:
        return "needs Chromium on the path"
    return None if find_spec("axe_playwright_python") else "needs axe-playwright-python"


@dataclass
class Visit:
    """A page that is open, and what happened since it was asked for."""

    page: Page
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for, the page's own first."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and errors that a script did not catch."""

    def listen(self) -> None:
        """Keep what the browser reports from now on."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def violations(self) -> list[str]:
        """Return what axe finds wrong: the rule and the first places of each."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{rule['id']}: {[node['html'][:200] for node in rule['nodes'][:3]]}" for rule in found]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        wider = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return int(wider)

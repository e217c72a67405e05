"""The code blocks of the documents, and what is done with each.

A block is run, unless the comment above it says otherwise:

    <!-- run: parse -->            it takes long, or needs data or a network: names and options are checked
    <!-- run: file my_idea.py -->  it is the content of this file, which later blocks of the page use
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)(`{3,})([^`\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
RULE = re.compile(r"<!-- run: (parse|file ([\w./-]+)) -->\s*$")
SHELL = ("", "sh", "bash", "shell", "console")
OUTPUT = ("text", "json", "csv", "mermaid", "diff")
"""Languages of what is shown and not executed."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    rule: str = "run"
    """"run", "parse" or "file"."""
    file: str = ""

    @property
    def where(self) -> str:
        """Return the page and the line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[str]:
        """Yield the commands of a block of shell, joined and without comments, prompts and output."""
        text = self.text.replace("\\\n", " ")
        prompted = re.search(r"^\$ ", text, re.MULTILINE) is not None
        for line in text.splitlines():
            if prompted and not line.startswith("$ "):
                continue
            words = re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")).strip()
            if words:
                yield words


def pages() -> list[Path]:
    """Return the pages whose blocks are executed."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that hold code."""
    return list(blocks_in(page.read_text(encoding="utf-8"), page))


def blocks_in(text: str, page: Path) -> Iterator[Block]:
    """Yield the blocks of a text that hold code."""
    for found in FENCE.finditer(text):
        language = found[3].split()[0] if found[3].split() else ""
        if language in OUTPUT or language.startswith("{"):
            continue
        rule = RULE.search(text[: found.start()])
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language="sh" if language in SHELL else language,
            text=textwrap.dedent(found[4]),
            rule=rule[1].split()[0] if rule else "run",
            file=rule[2] or "" if rule else "",
        )

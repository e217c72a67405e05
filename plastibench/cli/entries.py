"""Names with a text behind each, as listings have them. Without rich, which takes time to import."""

from __future__ import annotations

import shutil
import sys
import textwrap

MIN_ROOM = 20
"""Characters of a line that a text gets at least."""


def entry_lines(head: str, text: str) -> list[str]:
    """Return a text behind its head: on a terminal in lines that are all indented, else in one."""
    if not sys.stdout.isatty():
        return [f"{head}{text}".rstrip()]
    room = max(MIN_ROOM, shutil.get_terminal_size().columns - len(head))
    first, *others = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"{head}{first}".rstrip(), *(f"{'':{len(head)}}{line}" for line in others)]

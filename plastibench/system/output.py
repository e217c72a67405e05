"""What libraries and plug-ins write to the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout


def plugins_to_stderr() -> AbstractContextManager[object]:
    """Let what a plug-in prints go to stderr: stdout is for results, which a program may read."""
    return redirect_stdout(sys.stderr)


@contextmanager
def logged_output(captured: bool) -> Iterator[Callable[[], str]]:
    """Return what is written to stdout and stderr inside, by libraries too, and write none of it."""
    if not captured:
        yield lambda: ""
        return
    with tempfile.TemporaryFile() as file:
        saved = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in saved:
                os.dup2(file.fileno(), number)
            text: list[str] = []
            yield lambda: text[0]
        finally:
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)
            file.seek(0)
            text.append(file.read().decode(errors="replace"))

"""The command line of the scripts that write a page: python docs/NAME.py [--check]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def write_or_check(path: Path, page: Callable[[], str], description: str | None, command: str) -> None:
    """Write a page, or exit with 1 if `--check` is given and it is not current.

    `command` is what the message says to run then.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the page is not current")
    options, text = parser.parse_args(), page()
    if not options.check:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} is not current: run {command}")

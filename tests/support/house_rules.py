"""Rules for the files in `methods/` and `tasks/`; a plug-in of your own may import what it likes."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ALLOWED_IMPORTS = {"torch", "plastibench", *sys.stdlib_module_names}


def imports_only_allowed_modules(path: Path) -> None:
    """Raise AssertionError if a file imports more than torch, the standard library and plastibench.api."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            package = name.partition(".")[0]
            allowed = package in ALLOWED_IMPORTS and (package != "plastibench" or name == "plastibench.api")
            assert allowed, f"{path.name} imports {name}"

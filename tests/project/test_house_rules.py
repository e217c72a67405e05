"""What is shipped in `methods/` and `tasks/` imports torch, the standard library and plastibench.api only."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.house_rules import imports_only_allowed_modules

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "methods").glob("*.py")), *sorted((ROOT / "tasks").glob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_plugin_imports_only_allowed_modules(path: Path) -> None:
    imports_only_allowed_modules(path)


@pytest.mark.parametrize("line", ["import numpy", "from plastibench.training import state"])
def test_other_imports_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.py").write_text(f"import torch\n{line}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"mine\.py imports"):
        imports_only_allowed_modules(tmp_path / "mine.py")

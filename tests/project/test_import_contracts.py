"""The order of the packages is kept, and an import against it fails `make lint`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import child

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a checkout."""
    words = [str(LINTER), "--no-logo", "--no-cache"]
    return subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the package and of its contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "plastibench", tmp_path / "plastibench", ignore=ignored)
    return tmp_path


def add(tree: Path, file: str, lines: str) -> None:
    path = tree / "plastibench" / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"\n{lines}\n")


def test_this_tree_keeps_the_contracts() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("data/extra.py", "import plastibench.store", "data.extra -> plastibench.store"),
        (
            "store/extra.py",
            "def f():\n    import plastibench.cli",
            "store.extra -> plastibench.cli",
        ),
        (
            "analysis/extra.py",
            "import plastibench.tuning",
            "analysis.extra -> plastibench.tuning",
        ),
        ("attic/__init__.py", "", "plastibench.attic"),
        ("runner/extra.py", "import mlflow", "mlflow"),
        ("runner/extra.py", "from optuna.trial import Trial", "optuna"),
        ("tuning/extra.py", "from click import echo", "click"),
        ("tuning/extra.py", "import rich.table", "rich"),
    ],
)
def test_an_import_against_the_order_is_named(tree: Path, file: str, lines: str, message: str) -> None:
    add(tree, file, lines)
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    assert message in done.stdout.partition("Broken contracts")[2]


def test_two_files_that_import_each_other_are_named(tree: Path) -> None:
    add(tree, "data/first.py", "import plastibench.data.second")
    add(tree, "data/second.py", "def f():\n    import plastibench.data.first")
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "No cycles are allowed in plastibench.data" in done.stdout


@pytest.mark.heavy
def test_an_import_for_types_alone_is_allowed(tree: Path) -> None:
    lines = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import plastibench.store"
    add(tree, "data/extra.py", lines)
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.heavy
def test_no_import_chain_leads_back_to_its_file() -> None:
    """The contracts compare siblings; this also covers packages and their own files."""
    done = child(str(ROOT / "docs/packages.py"), "--numbers")
    assert done.returncode == 0, done.stderr
    assert "| cycles | 0 | 0 |" in done.stdout

"""Commands for users without a home folder: HOME is unset, empty, relative or missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import SMALL

UNKNOWN_USER = """
import pwd
def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
"""
"""A machine whose list of users lacks this one, as in many containers."""
PLACES = [
    ("HOME", ""),
    ("HOME", "a/b"),
    ("XDG_CACHE_HOME", "a/b"),
    ("HOME", "/proc/none"),
    ("XDG_CACHE_HOME", "/proc/none"),
]


def without_home(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a folder as a user that the system does not know."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(UNKNOWN_USER)
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]
    hidden = ("HOME", "XDG_CACHE_HOME", "PLASTIBENCH_HOME", "PLASTIBENCH_DATA", "MPLCONFIGDIR")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.heavy
def test_doctor_needs_no_home_folder_and_writes_nothing(tmp_path: Path) -> None:
    answer = without_home(tmp_path, "-m", "plastibench", "doctor")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "plastibench-home/cache/data (missing: " in answer.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_cache_is_never_in_a_folder_that_depends_on_the_current_one(tmp_path: Path) -> None:
    source = (
        "import os\n"
        "from plastibench.runner.workspace import default_cache\n"
        f"for name, value in {PLACES}:\n"
        "    os.environ[name] = value\n"
        "    print(default_cache())\n"
        "    del os.environ[name]\n"
    )
    answer = without_home(tmp_path, "-c", source)
    assert answer.stdout.split() == ["plastibench-home/cache"] * 3 + [
        "/proc/none/.cache/plastibench",
        "/proc/none/plastibench",
    ], answer


@pytest.mark.heavy
@pytest.mark.slow
def test_run_table_and_mlflow_need_no_home_folder(tmp_path: Path) -> None:
    words = ("run", "--task", "digits", *SMALL, "--seeds", 1, "--method", "warm")
    answer = without_home(tmp_path, "-m", "plastibench", *words)
    assert answer.returncode == 0, answer
    assert "MLflow: 1 run added" in answer.stderr
    table = without_home(tmp_path, "-m", "plastibench", "table", "--format", "md")
    assert (table.returncode, table.stdout.count("| warm |")) == (0, 1), table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plastibench-home", "site"]

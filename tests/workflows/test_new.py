"""What `plastibench new` writes works as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import command

KINDS = ("method", "model", "task")
SHORT = [word for pair in ("stages=2", "max_epochs=1") for word in ("--set", pair)]
WORDS = {
    "method": ("--task", "digits", "--method", "warm,my_idea"),
    "model": ("--task", "digits", "--model", "my_idea", "--method", "warm"),
    "task": ("--task", "my_idea", "--method", "warm"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_runs_and_keeps_the_laws(kind: str, tmp_path: Path) -> None:
    made = command("new", kind, "my_idea", "--folder", tmp_path)
    path = tmp_path / "my_idea.py"
    assert (made.status, made.out) == (0, f"{path}\n")
    home = ("--home", tmp_path / "home", "--seeds", 1, "--no-mlflow")
    done = command("run", *WORDS[kind], "--plugin", path, *SHORT, *home)
    assert done.status == 0, done.err
    if kind != "task":
        checked = command("check", path)
        assert (checked.status, "failed" in checked.out) == (0, False), checked.out
    again = command("new", kind, "my_idea", "--folder", tmp_path)
    assert (again.status, again.err.partition(": choose")[0]) == (2, f"plastibench: {path} is already there")


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("method", "My-Idea", "the name 'My-Idea' is not allowed: it must be a Python identifier"),
        ("method", "class", "the name 'class' is not allowed"),
        ("method", "dash", "there is a method named 'dash' already"),
        ("remedy", "mine", "Invalid value for '{method|model|task}': 'remedy'"),
    ],
)
def test_names_that_cannot_be_used_are_refused(kind: str, name: str, problem: str, tmp_path: Path) -> None:
    refused = command("new", kind, name, "--folder", tmp_path)
    assert refused.status == 2
    assert problem in refused.err
    assert not list(tmp_path.iterdir())


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_the_package_is_built_and_its_plugin_found_and_tested(kind: str, tmp_path: Path) -> None:
    made = command("new", kind, "my_idea", "--package", "--folder", tmp_path)
    root, site = tmp_path / "plastibench-my-idea", tmp_path / "site"
    assert len(made.out.splitlines()) == 6
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site,
        root,
    ]
    subprocess.run(list(map(str, pip)), check=True, capture_output=True)
    run_tests = "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    code = f"import sys; sys.path.insert(0, {str(site)!r}); {run_tests}"
    tested = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert tested.returncode == 0, tested.stdout

"""What `plastibench new` writes works as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import command
from support.forked import ForkedProgram
from support.packages import install, run_tests

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = ("method", "model", "task")
SHORT = [word for pair in ("stages=2", "max_epochs=1") for word in ("--set", pair)]
WORDS = {
    "method": ("--task", "digits", "--method", "warm,my_idea"),
    "model": ("--task", "digits", "--model", "my_idea", "--method", "warm"),
    "task": ("--task", "my_idea", "--method", "warm"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["method", pytest.param("model", marks=pytest.mark.slow), "task"])
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
        ("remedy", "mine", "Invalid value for 'KIND': no choice named 'remedy'"),
    ],
)
def test_names_that_cannot_be_used_are_refused(kind: str, name: str, problem: str, tmp_path: Path) -> None:
    refused = command("new", kind, name, "--folder", tmp_path)
    assert refused.status == 2
    assert problem in refused.err
    assert not list(tmp_path.iterdir())


@pytest.mark.heavy
def test_packages_are_built_and_their_plugins_found_and_tested(tmp_path: Path) -> None:
    site, roots = tmp_path / "site", [tmp_path / f"plastibench-my-{kind}" for kind in KINDS]
    for kind in KINDS:
        made = command("new", kind, f"my_{kind}", "--package", "--folder", tmp_path)
        assert len(made.out.splitlines()) == 6
    install(site, roots)
    program = ForkedProgram(run_tests, site, roots)
    _, said = program.communicate(timeout=300)
    assert (program.returncode, "3 passed" in said) == (0, True), said


def test_the_package_in_examples_is_what_the_command_writes(tmp_path: Path) -> None:
    assert command("new", "method", "my_idea", "--package", "--folder", tmp_path).status == 0
    written, kept = contents(tmp_path), contents(EXAMPLES)
    assert {name: kept.get(name) for name in written} == written, "see examples/README.md"
    assert [name for name in kept if name.startswith("plastibench-my-idea/") and name not in written] == []


def contents(folder: Path) -> dict[str, str]:
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yml")
    )
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}

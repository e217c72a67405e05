"""`plastibench list` names every plug-in, recipe and suite, and describes each by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import child, command, plugin

from plastibench.experiments import suites
from plastibench.plugins.plugin import KINDS
from plastibench.plugins.registry import Registry

NAMED = [(kind, name) for kind in KINDS for name in Registry().names(kind)]


@pytest.mark.parametrize(("kind", "name"), NAMED, ids=" ".join)
def test_every_plugin_is_described_by_its_name(kind: str, name: str) -> None:
    answer = command("list", name)
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert "settings:" in lines
    assert ("recipes:" in lines) == ("recipe settings:" in lines) == (kind == "task")


@pytest.mark.heavy
def test_a_fresh_process_describes_a_task() -> None:
    done = child("-m", "plastibench", "list", "digits")
    assert done.returncode == 0, done.stderr
    assert "  standard     learning_rate=0.01 batch_size=32 max_epochs=200\n" in done.stdout
    assert "  milestones       empty (whole numbers separated by commas)\n" in done.stdout
    assert "  learning_rate    0.001 (a number of at least 0)\n" in done.stdout


def test_recipes_are_listed_for_each_task() -> None:
    lines = command("list", "recipes").out.splitlines()
    assert lines[0] == "recipes:"
    assert ["cifar10", "standard, equal_steps, sota"] in [line.split(maxsplit=1) for line in lines[1:]]
    assert {line.split()[0] for line in lines[1:]} == set(Registry().names("task"))


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_is_described_by_its_name(name: str) -> None:
    out = command("list", name).out
    assert out.startswith(f"{name}:\n  summary")
    assert "grid 1:\n  task" in out


def test_a_name_of_two_kinds_is_described_twice(tmp_path: Path) -> None:
    answer = command(
        "list",
        "digits",
        "--plugin",
        plugin(tmp_path, "digits", "factor: float = 0.5\ndef after_stage(self, learner): assert self.factor"),
    )
    assert "method, settings:\n" in answer.out
    assert "  factor           0.5 (a number)\n" in answer.out
    assert "task, recipes:\n" in answer.out

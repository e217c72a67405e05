"""A plug-in's enums and tuples mean the same from the command line, TOML, Python, JSON, and in a tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import command, plugin, small_run

import plastibench
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec, build, canonical
from plastibench.plugins.registry import Registry
from plastibench.tuning.search_space import dimensions, with_values

SOURCE = '''"""A method of a test."""
from dataclasses import dataclass
from enum import Enum

from plastibench.api import Learner, Method, tune


class Mode(Enum):
    """How."""

    SLOW = "slow"
    FAST = "fast"


@dataclass(kw_only=True)
class Kinds(Method):
    """Scale all weights (arXiv 0000.00000)."""

    mode: Mode = Mode.SLOW
    betas: tuple[float, float] = (0.9, 0.99)
    steps: tuple[int, ...] | None = None
    rate: float = tune(1, 0.5, 2)

    presets = {"quick": {"mode": Mode.FAST, "rate": 1}}

    def before_stage(self, learner: Learner) -> None:
        for weight in learner.model.parameters():
            weight.mul_(self.rate * self.betas[self.mode is Mode.FAST] * len(self.steps or "."))
'''
TEXTS = {"kinds.mode": "FAST", "kinds.betas": "0.5,1", "kinds.steps": "3", "kinds.rate": "1"}
TOML = """
[[grid]]
task = "digits"
method = "kinds"
seeds = [0]

[grid.set]
kinds.mode = "fast"
kinds.betas = [0.5, 1]
kinds.steps = [3]
kinds.rate = 1.0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return plugin(tmp_path, "kinds", source=SOURCE)


def test_every_way_to_write_settings_gives_one_id(tmp_path: Path, file: Path) -> None:
    registry = Registry((file,))
    (tmp_path / "suite.toml").write_text(TOML)
    grids = [
        Grid(tasks=("digits",), methods=("kinds",), seeds=(0,), settings=TEXTS),
        suites.load(str(tmp_path / "suite.toml")).grids[0],
    ]
    typed, from_toml = (grid.specs(registry)[0] for grid in grids)
    assert typed.id == from_toml.id
    again = Spec.from_dict(json.loads(canonical(typed.as_dict())))
    assert again.id == typed.id
    cls = registry.load("method", "kinds")
    method: Any = build(again, registry)[1]
    assert method == cls(mode="FAST", betas=(0.5, 1), steps=[3], rate=1)
    assert method.mode.name == "FAST"


def test_a_range_is_searched_beside_them(file: Path) -> None:
    registry = Registry((file,))
    (spec,) = Grid(tasks=("digits",), methods=("kinds",), seeds=(0,), settings=TEXTS).specs(registry)
    (rate,) = dimensions(spec, registry.load("method", "kinds"), {})
    assert (rate.name, rate.low, rate.high, rate.whole) == ("kinds.rate", 0.5, 2.0, False)
    method: Any = build(with_values(spec, {"kinds.rate": 0.7}), registry)[1]
    assert (method.rate, method.mode.name, method.betas) == (0.7, "FAST", (0.5, 1.0))


def test_they_are_run_and_shown(tmp_path: Path, file: Path) -> None:
    home, words = tmp_path / "home", ("--plugin", file)
    sets = [word for name, text in TEXTS.items() for word in ("--set", f"{name}={text}")]
    done = small_run(home, *sets, *words, "--task", "digits", "--method", "kinds", "--wide")
    assert done.status == 0, done.err
    assert "kinds: batch_norm=keep betas=0.5,1 mode=FAST optimizer_state=keep rate=1 steps=3" in done.out
    settings = {"stages": 2, "max_epochs": 1, "width": 4, "train_size": 130}
    own = {"kinds.mode": "fast", "kinds.betas": [0.5, 1.0], "kinds.steps": (3,), "kinds.rate": 1}
    result = plastibench.run(
        task="digits",
        methods="kinds",
        seeds=1,
        settings={**settings, **own},
        home=home,
        plugins=[file],
        mlflow=False,
    )
    assert [record.id for record in result.records] == [path.parent.name for path in home.rglob("run.json")]
    listed = command("list", "kinds", *words).out
    assert "SLOW or FAST" in listed
    assert "2 numbers separated by commas" in listed

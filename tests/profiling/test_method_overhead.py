"""What methods add to training is measured beside the baseline, and refused ones say why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from time import sleep

import pytest
from support.commands import command
from torch import nn

from plastibench.devices import get_device
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.profiling.method_overhead import measure_methods
from plastibench.profiling.throughput import random_images
from plastibench.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class Tiny(Architecture):
    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))


@dataclass(kw_only=True)
class Slow(Method):
    """Waits 0.1 s in each step and 0.3 s between stages."""

    def before_stage(self, learner: Learner) -> None:
        sleep(0.3)

    def after_step(self, learner: Learner) -> None:
        sleep(0.1)


@pytest.mark.heavy
def test_the_time_of_a_method_shows_where_it_is_spent(registry: Registry) -> None:
    task = random_images(Tiny(), Recipe(batch_size=128), 256)
    dash, needy = registry.load("method", "dash")(), registry.load("method", "effective_lr")()
    methods = {"plain": Method(), "slow": Slow(), "dash": dash, "needy": needy}
    rows = measure_methods(methods, Method(), task, get_device("cpu"), repeats=2)
    found = {row.method: row for row in rows}
    plain, slow = found["plain"], found["slow"]
    assert plain.step is not None
    assert slow.step is not None
    assert slow.stage is not None
    assert plain.step.low <= plain.step.median <= plain.step.high
    assert plain.stage is not None
    assert slow.step.low > 2  # a step of the tiny model takes some milliseconds
    assert slow.stage.low > max(2.0, 10 * plain.stage.high)
    assert (plain.flops, slow.flops) == (1.0, 1.0)
    assert found["dash"].flops == pytest.approx(1.5)  # a pass more over data that are trained on twice
    assert "no layer of the model is followed by a normalization" in (found["needy"].reason or "")
    assert found["needy"].step is None


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_method() -> None:
    answer = command("bench", "--method", "shrink", "--model", "mlp_bn", "--json")
    assert answer.status == 0, answer.err
    (model,) = json.loads(answer.out)["models"]
    assert [one["method"] for one in model["methods"]] == ["shrink"]
    assert answer.err.splitlines()[-1].startswith("shrink")
    unknown = command("bench", "--method", "shrinck")
    assert unknown.status == 2
    assert len(unknown.lines()) == 1
    assert "did you mean 'shrink'" in unknown.err

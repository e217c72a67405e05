"""The settings that a study searches: those that have an effect on the method."""

from __future__ import annotations

import pytest

from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry
from plastibench.tuning.search_space import dimensions


@pytest.mark.parametrize(
    ("method", "searched"),
    [
        ("warm", {"learning_rate", "weight_decay"}),
        ("sam", {"sam.rho", "learning_rate", "weight_decay"}),
        ("muon", {"muon.learning_rate", "muon.momentum", "muon.weight_decay"}),
    ],
)
def test_a_setting_of_the_recipe_that_the_method_sets_is_not_searched(
    registry: Registry, method: str, searched: set[str]
) -> None:
    grid = Grid(("digits",), (method,), settings={"weight_decay": "0.01"})
    (spec,) = (spec for spec in grid.specs(registry) if spec.seed == 0)
    extra = {"learning_rate": "", "weight_decay": "", "dash.floor": ""}
    assert {one.name for one in dimensions(spec, registry.load("method", method), extra)} == searched

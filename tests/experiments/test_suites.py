"""Named grids: those shipped can be asked for, and a user's own file means what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from plastibench.errors import RequestError
from plastibench.experiments import suites
from plastibench.plugins.registry import Registry

SETTINGS = """
[[grid]]
task = "digits"
method = ["warm", "dash:dash_2024_low"]
seeds = {seeds}

[grid.set]
learning_rate = 0.012345678
stages = 4
augment = true
milestones = [1, 2]
schedule = "steps"
dash.momentum = 0.123456789
"""


def test_every_suite_shipped_names_only_what_exists(registry: Registry) -> None:
    assert suites.defaults().suite in suites.names()
    for name, summary in suites.summaries():
        suite = suites.load(name)
        assert summary == suite.summary != ""
        specs = [spec for grid in suite.grids for spec in grid.specs(registry)]
        assert len({spec.id for spec in specs}) == len(specs) > 0
        assert suite.baseline in {spec.method.name for spec in specs}


def test_a_users_suite_file_is_read_as_written(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "my suite.toml"
    file.write_text(SETTINGS.format(seeds="[3, 5]"))
    suite = suites.load(str(file))
    assert (suite.name, suite.baseline) == ("my suite", None)
    specs = suite.grids[0].specs(registry)
    assert [spec.seed for spec in specs] == [3, 3, 5, 5]
    recipe, dash = specs[1].recipe, specs[1].method
    assert (recipe["learning_rate"], recipe["augment"], recipe["milestones"]) == (0.012345678, True, (1, 2))
    assert dash.settings["momentum"] == 0.123456789
    assert specs[1].task.settings["stages"] == 4


@pytest.mark.parametrize(("seeds", "meant"), [("2", (0, 1)), ('"4-5"', (4, 5)), ("[7]", (7,))])
def test_seeds_of_a_file_are_a_count_a_list_or_text(
    seeds: str, meant: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(SETTINGS.format(seeds=seeds))
    assert suites.load(str(tmp_path / "x.toml")).grids[0].seeds == meant


@pytest.mark.parametrize("name", ["defaults", "../suites/quickstart", "", "quickstart.py"])
def test_a_toml_file_that_is_no_suite_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="no suite"):
        suites.load(name)

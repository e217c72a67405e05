"""Named grids: those shipped can be asked for, and a user's own file means what it says."""

from __future__ import annotations

import codecs
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
normalize = false
milestones = [1, 2]
schedule = "steps"
dash.momentum = 0.123456789
"""


@pytest.mark.heavy
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
    assert (recipe["learning_rate"], recipe["normalize"], recipe["milestones"]) == (
        0.012345678,
        False,
        (1, 2),
    )
    assert dash.settings["momentum"] == 0.123456789
    assert specs[1].task.settings["stages"] == 4


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["", "BOM"])
def test_a_file_is_read_whatever_editor_wrote_it(tmp_path: Path, mark: bytes, newline: str) -> None:
    text = 'summary = "\u00e9"\n' + SETTINGS.format(seeds="[3]")
    (tmp_path / "mine.toml").write_bytes(mark + text.replace("\n", newline).encode())
    suite = suites.load(str(tmp_path / "mine.toml"))
    assert suite.summary == "\u00e9"
    assert suite.grids[0].seeds == (3,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"summary = 1\n[[grid]]\ntask = \n", r"mine\.toml is not TOML: .*line 3"),
        (b"# \n\nsummary = '\xe9'\n", r"mine\.toml is not TOML: line 3 is not UTF-8"),
        ("summary = 'x'\n".encode("utf-16"), r"mine\.toml is not TOML: line 1 is not UTF-8"),
    ],
    ids=["syntax", "latin-1", "UTF-16"],
)
def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(RequestError, match=message):
        suites.load(str(tmp_path / "mine.toml"))


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

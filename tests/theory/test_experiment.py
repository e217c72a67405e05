"""The experiment with random features: the notebook's numbers, its settings, and the command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from support.commands import command

from plastibench.errors import RequestError
from plastibench.theory.experiment import FeatureLearning, expected_accuracy, simulate
from plastibench.theory.framework import Initialization

SMALL = ("--set", "stages=3", "--seeds", "2")
NOTEBOOK = {
    Initialization.COLD: ([[25, 39, 47, 51]], [[1000, 2000, 3000, 4000]]),
    Initialization.WARM: ([[25, 27, 28, 30]], [[1000, 633, 597, 545]]),
    Initialization.IDEAL: ([[25, 40, 47, 51]], [[1000, 1206, 1007, 965]]),
}
"""Learned features and points with a gradient of seed 0 in the authors' notebook (commit 3d3cea6)."""


@pytest.mark.parametrize("start", Initialization)
def test_a_seed_gives_the_counts_of_the_notebook(start: Initialization) -> None:
    curves = simulate(FeatureLearning(stages=4), [0])[start]
    assert (curves.features.tolist(), curves.active.tolist()) == NOTEBOOK[start]


@pytest.mark.heavy
def test_the_paper_s_figure_holds_at_its_defaults() -> None:
    """Cold and ideal start end alike, warm start 10 points and more below, and it takes the least time."""
    found = simulate(FeatureLearning(), [0, 1])
    cold, warm, ideal = (found[start] for start in Initialization)
    assert np.abs(cold.accuracy - ideal.accuracy).max() < 1
    assert (cold.accuracy[:, -1] - warm.accuracy[:, -1]).min() > 10
    assert (cold.training_time == 1000 * 50 * 51 / 2).all()
    assert (warm.training_time < ideal.training_time).all()
    assert (ideal.training_time < cold.training_time / 5).all()


def test_points_that_are_not_classified_are_guessed() -> None:
    """By hand: two of four points have two learned features; of the others, half are guessed."""
    points = np.array([[[1, 1, 0], [1, 0, 1]], [[0, 1, 1], [1, 1, 1]]], dtype=np.uint8)
    learned = np.array([[[True, True, False], [True, True, False]]])
    assert expected_accuracy(points, learned, tau=2).tolist() == [75.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": 3}, "chunk_size=1000 is not allowed"),
        ({"chunk_size": 300, "classes": 3}, "test_size=10000 is not allowed"),
        ({"tau": 0}, "tau=0 is not allowed"),
        ({"max_frequency": 1.5}, "max_frequency=1.5 is not allowed"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        FeatureLearning(**settings)  # type: ignore[arg-type]


def test_the_command_prints_a_row_for_each_start_and_every_stage_for_programs() -> None:
    shown = command("theory", *SMALL, "--format", "md")
    rows = [line.split(" | ")[0] for line in shown.out.splitlines() if line.startswith("| ")]
    assert rows == ["| start", "| ---", "| cold", "| warm", "| ideal"]
    (table,) = json.loads(command("theory", *SMALL, "--format", "json").out)["tables"]
    assert [(row["start"], row["stage"]) for row in table["rows"]] == [
        (start.label, stage) for start in Initialization for stage in (1, 2, 3)
    ]
    assert table["rows"][2]["training_time"]["mean"] == 1000 + 2000 + 3000
    lines = list(csv.DictReader(io.StringIO(command("theory", *SMALL, "--format", "csv").out)))
    assert float(lines[0]["accuracy_mean"]) == table["rows"][0]["accuracy"]["mean"]


@pytest.mark.parametrize(("suffix", "begin"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_the_figure_is_written(tmp_path: Path, suffix: str, begin: bytes) -> None:
    path = tmp_path / "new" / f"theory.{suffix}"
    assert command("theory", *SMALL, "--figure", path).status == 0
    assert path.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--figure", "theory.gif"), "no figure format named 'gif'"),
        (("--set", "gama=3"), "did you mean 'gamma'"),
        (("--format", "xml"), "no format named 'xml'"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], message: str) -> None:
    answer = command("theory", *words)
    assert answer.status == 2
    assert len(answer.lines()) == 1
    assert message in answer.err

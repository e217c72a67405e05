"""A remedy whose runs have the baseline's weights changed nothing, and every table and report says so."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import command, plugin, small_run
from support.reports import ORIGIN, a_spec_of

from plastibench.analysis.report.sentences import headline, setting_sentences
from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.cli.render import FORMATS
from plastibench.store.record import Record
from plastibench.tracking.bulk.encoding import decode, encode

COST = {"steps": 10, "train_passes": 100, "remedy_passes": 0}
NEVER = """
threshold: float = 1e9

def before_stage(self, learner):
    for parameter in learner.model.parameters():
        if parameter.norm() > self.threshold:
            parameter.mul_(0.5)
"""


def record(method: str, seed: int, accuracy: float, weights: str | None) -> Record:
    stages: list[dict[str, Any]] = [{"index": i, "test_accuracy": accuracy, **COST} for i in range(2)]
    return Record(a_spec_of(method, seed, stages=2), "done", stages, {**ORIGIN, "weights": weights})


def table(*records: Record) -> ResultTable:
    (found,) = build_tables(records, "warm", None)
    return found


def notes(found: ResultTable) -> list[str]:
    return [note for note in found.notes if "same weights" in note]


WARM = [record("warm", seed, 0.5, f"a{seed}") for seed in range(3)]


def test_the_number_of_runs_is_said() -> None:
    same = [record("new", seed, 0.5, f"a{seed}") for seed in range(3)]
    assert notes(table(*WARM, *same)) == ["new: the same weights as warm in 3 of 3 runs: it changed nothing"]
    in_part = [*same[:2], record("new", 2, 0.6, "b"), record("new", 3, 0.6, "c")]
    (note,) = notes(table(*WARM, *in_part))
    assert note == "new: the same weights as warm in 2 of 3 runs: it changed nothing there"
    assert f"{note}." in setting_sentences(table(*WARM, *in_part))
    assert [row.num_unchanged for row in table(*WARM, *in_part).rows] == [2, None]


def test_methods_with_the_same_numbers_share_a_sentence() -> None:
    same = [record(name, seed, 0.5, f"a{seed}") for name in ("new", "idle") for seed in range(3)]
    part = [record("other", 0, 0.5, "a0"), record("other", 1, 0.6, "b"), record("other", 2, 0.6, "c")]
    assert notes(table(*WARM, *same, *part)) == [
        "idle and new: the same weights as warm in 3 of 3 runs each: they changed nothing",
        "other: the same weights as warm in 1 of 3 runs: it changed nothing there",
    ]


def test_a_report_names_no_method_that_changed_nothing_as_the_best() -> None:
    found = table(*WARM, *[record("new", seed, 0.5, f"a{seed}") for seed in range(3)])
    assert headline(found).startswith("warm has the highest average accuracy")
    assert not any("No clear difference" in sentence for sentence in setting_sentences(found))


@pytest.mark.parametrize(
    "other",
    [
        record("new", 0, 0.5, "b"),
        record("new", 0, 0.6, "a0"),  # other weights are evaluated, such as an average
        record("new", 1, 0.5, "a0"),
        record("new", 7, 0.5, "a0"),
    ],
)
def test_other_weights_accuracies_and_seeds_are_a_change(other: Record) -> None:
    assert notes(table(*WARM, other)) == []


def test_records_without_digests_are_never_the_same() -> None:
    assert notes(table(record("warm", 0, 0.5, None), record("new", 0, 0.5, None))) == []


def test_the_digest_is_mirrored() -> None:
    (found,) = decode([encode(WARM[1], ())]).values()
    assert found.metrics == WARM[1].metrics
    assert found.metrics.weights == "a1"


@pytest.mark.heavy
def test_a_threshold_that_is_never_reached_is_named_in_every_format(tmp_path: Path) -> None:
    home, file = tmp_path / "home", plugin(tmp_path, "never", NEVER)
    words = ("--plugin", file, "--method", "warm,never", "--task", "digits", "--seeds", 2)
    assert "never: the same weights as warm in 2 of 2 runs: it changed nothing" in small_run(home, *words).out
    answers = {form: command("table", "--home", home, "--format", form).out for form in FORMATS}
    for form in ("text", "md", "latex", "json"):
        assert "the same weights as warm in 2 of 2 runs" in " ".join(answers[form].split()), form
    rows = {row["method"]: row for row in json.loads(answers["json"])["tables"][0]["rows"]}
    assert [rows[name]["same_weights_as_baseline"] for name in ("never", "warm")] == [2, None]
    values = {row["method"]: row for row in csv.DictReader(answers["csv"].splitlines())}
    assert [values[name]["same_weights_as_baseline"] for name in ("never", "warm")] == ["2", ""]

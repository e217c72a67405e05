"""A run on two devices is the run on one: the same weights but for rounding, with every remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.rank_program import Case, Outcome, on_fake_hpu, run_case, run_together

from plastibench.plugins.registry import Registry

pytestmark = pytest.mark.heavy

ROUNDING = 1e-4
"""Largest difference of a weight at the end of a run, as a fraction of the largest weight of its tensor."""

RANDOM = {"dropout_interval"}
"""Their layers draw numbers, others on each device: equal in distribution alone."""
ILL_CONDITIONED = {"fire", "muon"}
"""They orthogonalize matrices by iterations that enlarge rounding: compared by what they lead to."""
ENLARGED = {"upgd": 1e-2}
"""They divide by small numbers, which enlarges rounding: a tolerance of their own."""
NEAR_TIES = {"selective_reinit"}
"""They compare utilities that can be nearly equal, and may choose others: compared by what they lead to."""
METHODS = [name for name in Registry().names("method") if name not in RANDOM]

USUAL = [
    *map(Case, ("warm", "dash", "shrink_perturb", "l2_init", "redo", "upgd", "distill_reset", "stage_soup")),
    Case("OwnGradient"),
    Case("warm", optimizer="sam"),
    Case("dash", model="mlp_bn"),
    Case("shrink", model="mlp_bn"),
    Case("redo", model="vit"),
]
"""Batches of 23 are divided unevenly, and the last one of a stage, of one to three, is not divided."""


def check(cases: list[Case], folder: Path) -> None:
    outcomes = run_together(cases, folder)
    for case, first, second in zip(cases, *outcomes, strict=True):
        alone = run_case(case)
        assert (first.error, second.error) == (alone.error, alone.error), case
        assert_same_rows(case, first, alone)
        for name, weight in alone.weights.items():
            assert torch.equal(first.weights[name], second.weights[name]), f"{case}: ranks differ in {name}"
            if case.method not in ILL_CONDITIONED | NEAR_TIES and not is_without_gradient(case, name):
                tolerance = ENLARGED.get(case.method, ROUNDING) * float(weight.abs().max())
                difference = float((first.weights[name] - weight).abs().max())
                assert difference <= tolerance, f"{case}: {name} differs by {difference}"


def is_without_gradient(case: Case, name: str) -> bool:
    """Return whether only rounding moves a tensor: a bias before a normalization, and the mean after it."""
    return case.model == "mlp_bn" and name in {"1.bias", "4.bias", "2.running_mean", "5.running_mean"}


def assert_same_rows(case: Case, outcome: Outcome, alone: Outcome) -> None:
    assert len(outcome.rows) == len(alone.rows)
    for row, expected in zip(outcome.rows, alone.rows, strict=True):
        assert row.keys() == expected.keys()
        for name, value in row.items():
            if name.endswith("loss"):
                assert value == pytest.approx(expected[name], rel=1e-3), (case, name)
            elif case.method in NEAR_TIES and isinstance(value, float):
                assert value == pytest.approx(expected[name], rel=0.05), (case, name)
            else:
                assert value == expected[name], (case, name)


def test_two_devices_train_as_one_does(tmp_path: Path) -> None:
    check(USUAL, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["plain_cnn", "small_resnet", "vit"])
def test_every_method_is_the_same_on_two_devices(model: str, tmp_path: Path) -> None:
    check([Case(method, model) for method in METHODS], tmp_path)


@pytest.mark.slow
def test_three_devices_train_as_one_does(tmp_path: Path) -> None:
    cases = [Case("warm"), Case("dash", model="mlp_bn")]
    for ranks in run_together(cases, tmp_path, size=3):
        for case, outcome in zip(cases, ranks, strict=True):
            assert_same_rows(case, outcome, run_case(case))


def test_stopped_run_is_resumed_by_any_number_of_devices(tmp_path: Path) -> None:
    cases = [Case("redo"), Case("redo", stop_after=6), Case("redo", resumed=1)]
    outcomes = run_together(cases, tmp_path)
    whole, stopped, resumed = outcomes[0]
    assert stopped.state is not None
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)
    alone = run_case(cases[2], state=stopped.state)
    assert_same_rows(cases[2], resumed, alone)


def test_method_that_acts_differently_on_each_device_is_named(tmp_path: Path) -> None:
    outcomes = run_together([Case("Careless"), Case("Drawing")], tmp_path)
    for ranks in outcomes:
        for outcome, name in zip(ranks, ("Careless", "Drawing"), strict=True):
            assert outcome.error is not None
            assert f"{name} has changed the model differently on each device" in outcome.error


def test_cards_of_gaudi_train_as_processors_do(tmp_path: Path) -> None:
    cases = [Case("dash", model="mlp_bn", optimizer="sam")]
    folders = [tmp_path / name for name in ("cpu", "hpu")]
    for folder in folders:
        folder.mkdir()
    expected = run_together(cases, folders[0])
    for ranks, processors in zip(run_together(cases, folders[1], work=on_fake_hpu), expected, strict=True):
        for case, outcome, other in zip(cases, ranks, processors, strict=True):
            assert_same_rows(case, outcome, other)
            assert all(torch.equal(outcome.weights[name], w) for name, w in other.weights.items()), case

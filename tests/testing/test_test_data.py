"""A method cannot read the test data before it is measured on them, and a law finds a choice by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from support.tasks import few_digits
from torch import Tensor, nn

from plastibench.api import DataContext, Learner, Method, Probe
from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.testing import laws
from plastibench.testing.other_test import with_other_test
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.protocol import Measures

REFUSED = "reads the test data before its accuracy"


def shrink(learner: Learner, by: float) -> None:
    for weight in learner.model.parameters():
        weight.data.mul_(1 - by)


@dataclass(kw_only=True)
class TrainsOnTheTest(Method):
    def before_stage(self, learner: Learner) -> None:
        assert learner.stage.test is not None
        x, y = next(learner.stage.test.batches(8))
        learner.backward(learner.model, x, y)


@dataclass(kw_only=True)
class LooksIntoItsTensors(Method):
    def after_step(self, learner: Learner) -> None:
        shrink(learner, float(getattr(learner.stage.test, "x").float().mean()))  # noqa: B009 - of some data sets


@dataclass(kw_only=True)
class AddsALoss(Method):
    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        return float(len(learner.stage.test or ()))


@dataclass(kw_only=True)
class ChoosesItsModel(Method):
    def evaluated(self, learner: Learner) -> nn.Module:
        assert learner.stage.test is not None
        learner.accuracy(learner.model, learner.stage.test)
        return learner.model


@dataclass(kw_only=True)
class RemembersItsAccuracy(Method):
    accuracy: float = field(default=0.0, init=False)

    def after_step(self, learner: Learner) -> None:
        shrink(learner, 0.01 * self.accuracy)

    def after_stage(self, learner: Learner) -> None:
        if learner.stage.test is not None:
            self.accuracy = learner.accuracy(learner.model, learner.stage.test)


@dataclass(kw_only=True)
class LoadsItAgain(Method):
    def after_step(self, learner: Learner) -> None:
        context = DataContext(learner.device, Path(), Path())
        *_, stage = learner.task.stream(learner.seed, context)
        assert stage.test is not None
        x, y = next(stage.test.batches(8))
        shrink(learner, 1e-3 * float(x.mean()) + 1e-3 * int(y[0]))


@dataclass(kw_only=True)
class Reports(Method):
    def after_step(self, learner: Learner) -> None:
        shrink(learner, 0.01)

    def after_stage(self, learner: Learner) -> None:
        if learner.stage.test is not None:
            learner.log("own", learner.accuracy(learner.model, learner.stage.test))


@pytest.mark.parametrize("cls", [TrainsOnTheTest, LooksIntoItsTensors, AddsALoss, ChoosesItsModel])
def test_no_hook_before_the_measurement_can_read_the_test_data(
    registry: Registry, cls: Callable[[], Method]
) -> None:
    with pytest.raises(RequestError, match=REFUSED):
        trace_run(few_digits(registry), cls())


@pytest.mark.parametrize(
    ("cls", "message"),
    [(RemembersItsAccuracy, "with the test data and without"), (LoadsItAgain, "on other test data: weights")],
)
def test_a_law_finds_what_the_test_data_have_decided(
    registry: Registry, cls: Callable[[], Method], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        laws.test_data_change_nothing(few_digits(registry), cls)


def test_a_method_may_report_its_accuracy_on_them_once_it_is_measured(registry: Registry) -> None:
    laws.test_data_change_nothing(few_digits(registry), Reports)
    rows = trace_run(few_digits(registry), Reports()).rows()
    assert [row["log.own"] for row in rows] == [row["test_accuracy"] for row in rows]


def test_other_test_data_have_other_labels_and_the_same_training_data(registry: Registry) -> None:
    task = few_digits(registry)
    pairs = zip(task.stream(0, data_context()), with_other_test(task).stream(0, data_context()), strict=True)
    for plain, other in pairs:
        assert plain.test is not None
        assert other.test is not None
        assert plain.train.labels().equal(other.train.labels())
        labels = plain.test.labels()[: len(other.test)]
        assert (labels != other.test.labels()).float().mean() > 0.8


@dataclass(frozen=True, kw_only=True)
class AccuracyAtTheStart(Probe):
    """Accuracy on the test data at the beginning of a stage."""

    units: ClassVar[Mapping[str, str]] = {"accuracy": ""}
    moments: ClassVar[tuple[str, ...]] = ("stage_start",)

    def measure(self, learner: Learner) -> Mapping[str, float]:
        if learner.stage.test is None:
            return {"accuracy": float("nan")}
        return {"accuracy": learner.accuracy(learner.model, learner.stage.test)}


def test_a_probe_may_read_them_at_every_moment(registry: Registry) -> None:
    probes = {"start": AccuracyAtTheStart()}
    rows = trace_run(few_digits(registry), Method(), measures=Measures(probes=probes)).rows()
    assert all(0 <= row["start.accuracy"] <= 1 for row in rows)
    held_out = Measures(held_out_test=True, probes=probes)
    rows = trace_run(few_digits(registry), Method(), measures=held_out).rows()
    assert all(row["start.accuracy"] != row["start.accuracy"] for row in rows)

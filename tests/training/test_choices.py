"""Data that the model chooses: the ones of which it is least certain, the same when a run is resumed."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor

from plastibench.plugins.method import Method
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.increments import Increments
from plastibench.plugins.regimes.uncertainty import Uncertainty
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner

Images = list[tuple[float, ...]]


def images(x: Tensor) -> Images:
    return [tuple(each.flatten().tolist()) for each in x]


def by_hand(logits: Tensor, measure: str) -> float:
    """Return how certain a model is of one example, in plain numbers."""
    probabilities: list[float] = sorted(logits.double().softmax(0).tolist())
    if measure == "margin":
        return probabilities[-1] - probabilities[-2]
    if measure == "confidence":
        return probabilities[-1]
    return sum(p * float(torch.tensor(p).double().log()) for p in probabilities)


class Recorder(Method):
    """Keeps what each stage has trained on, and its model."""

    kept: list[tuple[Any, Any]] = []  # noqa: RUF012 - the run has a copy of the method

    def after_stage(self, learner: Learner) -> None:
        assert learner.stage.pool is None
        self.kept.append((learner.stage, copy.deepcopy(learner.model).eval()))


def recorded(task: Task) -> list[tuple[Any, Any]]:
    Recorder.kept.clear()
    trace_run(task, Recorder())
    return list(Recorder.kept)


@pytest.mark.parametrize("measure", ["margin", "confidence", "entropy"])
def test_the_least_certain_examples_arrive_next(registry: Registry, measure: Any) -> None:
    task = small_digits(registry, regime=Uncertainty(measure=measure))
    kept = recorded(task)
    *_, plain = small_digits(registry, regime=Accumulate()).stream(0, data_context())
    everything: Any = plain.train
    assert images(kept[0][0].train.x) == images(everything.x)[:44]
    for (stage, model), (after, _) in pairwise(kept):
        arrived = set(images(stage.train.x))
        waiting = [place for place, image in enumerate(images(everything.x)) if image not in arrived]
        (batch, _), *_ = everything.take(torch.tensor(waiting)).batches(len(waiting))
        with torch.no_grad():
            certainty = [by_hand(logits, measure) for logits in model(batch)]
        chosen = sorted(zip(certainty, waiting, strict=True))[: after.num_new]
        assert sorted(images(everything.x[[place for _, place in chosen]])) == sorted(
            images(after.train.x[-after.num_new :])
        )
    assert sorted(images(kept[-1][0].train.x)) == sorted(images(everything.x))


def test_sizes_of_chunks_are_those_of_the_base(registry: Registry) -> None:
    regime = Uncertainty(base=Increments(increments=(0.1, 0.2)))
    task = small_digits(registry, regime=regime, stages=None)
    assert [stage.num_new for stage, _ in recorded(task)] == [100, 10, 20]


def test_passes_over_the_examples_to_come_are_counted(registry: Registry) -> None:
    plain, chosen = (
        trace_run(small_digits(registry, regime=regime), Method()).results
        for regime in (Accumulate(), Uncertainty())
    )
    more = [
        two.cost.evaluation_forwards - one.cost.evaluation_forwards
        for one, two in zip(plain, chosen, strict=True)
    ]
    assert more == [86, 43, 0]
    assert plain[0].test_accuracy == chosen[0].test_accuracy


@pytest.mark.heavy
def test_a_resumed_run_has_the_data_that_were_chosen(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", regime=Uncertainty(), recipe={"max_epochs": 2}, train_size=100)
    make = partial(registry.load("method", "shrink_perturb"))
    laws.interruption_changes_nothing(task, make)
    laws.same_seed_gives_same_result(task, make)


@pytest.mark.heavy
def test_methods_choose_data_of_their_own_from_the_second_stage_on(registry: Registry) -> None:
    task = small_digits(registry, regime=Uncertainty(), stages=4, recipe={"max_epochs": 3})

    class Restarts(Recorder):
        def before_stage(self, learner: Learner) -> None:
            learner.restart()

    warm = [images(stage.train.x) for stage, _ in recorded(task)]
    Recorder.kept.clear()
    trace_run(task, Restarts())
    cold = [images(stage.train.x) for stage, _ in Recorder.kept]
    assert warm[0] == cold[0]
    assert sorted(warm[1]) == sorted(cold[1])  # chosen by the same first model
    assert sorted(warm[2]) != sorted(cold[2])
    assert sorted(warm[3]) == sorted(cold[3])


def test_a_stream_without_a_model_keeps_its_order(registry: Registry) -> None:
    task = small_digits(registry, regime=Uncertainty())
    plain = small_digits(registry, regime=Accumulate())
    pairs = zip(task.stream(0, data_context()), plain.stream(0, data_context()), strict=True)
    assert all(torch.equal(one.train.labels(), other.train.labels()) for one, other in pairs)

"""Training under regimes: masked logits, data that arrive within a stage, equal steps, and resumed runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.commands import small_run
from support.tasks import captured_digits, small_digits
from torch import Tensor

from plastibench.plugins.method import Method
from plastibench.plugins.regime import Regime
from plastibench.plugins.regimes.class_incremental import ClassIncremental
from plastibench.plugins.regimes.class_pairs import ClassPairs
from plastibench.plugins.regimes.label_noise import LabelNoise
from plastibench.plugins.regimes.permuted_pixels import PermutedPixels
from plastibench.plugins.regimes.random_labels import RandomLabels
from plastibench.plugins.regimes.within_stage import WithinStage
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store
from plastibench.testing import laws
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training.callbacks import EpochProgress, TrainingCallback
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner

REGIMES: tuple[Regime, ...] = (
    ClassIncremental(),
    ClassPairs(),
    LabelNoise(noise=(0.3,)),
    PermutedPixels(),
    RandomLabels(),
    WithinStage(arrival_epochs=2),
)


class EpochSizes(TrainingCallback):
    """Keeps the number of steps of each epoch."""

    def __init__(self) -> None:
        self.steps: dict[int, list[int]] = {}

    def on_epoch_end(self, progress: EpochProgress) -> None:
        self.steps.setdefault(progress.stage, []).append(progress.steps)


def learner_in_stage(registry: Registry, regime: Regime, stage: int = 0) -> Learner:
    task = small_digits(registry, regime=regime, stages=None)
    learner = Learner(task, Method(), 0, data_context().device)
    learner.begin_stage(list(task.stream(0, data_context()))[stage])
    return learner


def test_logits_of_classes_to_come_count_neither_in_loss_nor_in_accuracy(registry: Registry) -> None:
    learner = learner_in_stage(registry, ClassIncremental(), 1)
    logits, y = torch.randn(6, 10, requires_grad=True), torch.tensor([0, 1, 2, 3, 3, 0])
    loss = learner.loss(logits, y)
    by_hand = -torch.stack(
        [row[:4].log_softmax(0)[label] for row, label in zip(logits, y, strict=True)]
    ).mean()
    assert torch.allclose(loss, by_hand)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:, 4:] == 0).all()
    assert (gradient[:, :4] != 0).all()
    test = learner.stage.test
    assert test is not None
    model = learner.model.eval()
    with torch.no_grad():
        learner.head.bias[7] += 100  # a class to come that every example would be taken for
        (x, labels), *_ = test.batches(len(test))
        right = int((model(x)[:, :4].argmax(1) == labels).sum())
    recipe = learner.task.recipe
    assert evaluate(model, test, recipe, learner.device, 4).num_correct == right > 0
    assert evaluate(model, test, recipe, learner.device).num_correct == 0


def test_a_stage_is_measured_on_the_classes_so_far(registry: Registry) -> None:
    class Biased(Method):
        def evaluated(self, learner: Learner) -> Any:
            with torch.no_grad():
                learner.head.bias[9] += 100
            return learner.model

    accuracies = []
    for mask in (True, False):
        regime = ClassIncremental(mask_unseen=mask)
        task = small_digits(registry, regime=regime, stages=None, max_stages=1)
        accuracies.append(trace_run(task, Biased()).results[0].test_accuracy)
    assert accuracies[0] is not None
    assert accuracies[0] > 0.3
    assert accuracies[1] == 0


@pytest.mark.heavy
def test_a_remedy_sees_the_logits_of_the_classes_so_far(registry: Registry) -> None:
    widths: list[int] = []

    class Widths(Method):
        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
            widths.append(logits.shape[1])
            return F.cross_entropy(logits, y) * 0

    for mask, expected in ((True, {2, 4, 6, 8, 10}), (False, {10})):
        widths.clear()
        regime = ClassIncremental(mask_unseen=mask)
        trace_run(small_digits(registry, regime=regime, stages=None), Widths())
        assert set(widths) == expected


def test_weights_of_classes_to_come_do_not_move_while_they_are_masked(registry: Registry) -> None:
    task = small_digits(registry, regime=ClassIncremental(), stages=None, max_stages=2)
    before = learner_in_stage(registry, ClassIncremental()).head.weight
    after = trace_run(task, Method()).weights[-1]
    head = next(after[name] for name in reversed(after) if name.endswith("weight"))
    assert torch.equal(head[4:], before[4:])
    assert not torch.equal(head[:4], before[:4])


@pytest.mark.heavy
def test_data_arrive_over_the_first_epochs_of_a_stage(registry: Registry) -> None:
    recipe = {"batch_size": 10, "max_epochs": 5}
    regime = WithinStage(arrival_epochs=4)
    task = small_digits(registry, recipe=recipe, regime=regime, stages=2, train_size=160)
    all_stages = list(task.stream(0, data_context()))
    assert [stage.available for stage in all_stages] == [(20, 40, 60), (100, 120, 140)]
    sizes = EpochSizes()
    trace_run(task, Method(), callback=sizes)
    assert sizes.steps == {0: [2, 6, 12, 20, 28], 1: [38, 50, 64, 80, 96]}


def test_no_target_ends_a_stage_whose_data_still_arrive(registry: Registry) -> None:
    recipe = {"target_accuracy": 0.0, "max_epochs": 9}
    task = small_digits(registry, recipe=recipe, regime=WithinStage(arrival_epochs=4))
    assert [result.epochs for result in trace_run(task, Method()).results] == [4, 4, 4]
    short = replace(task, recipe=replace(task.recipe, max_epochs=2))
    assert [(r.epochs, r.stop) for r in trace_run(short, Method()).results] == [(2, "max_epochs")] * 3


@pytest.mark.heavy
@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: type(regime).__name__)
def test_a_resumed_run_has_the_same_bits(registry: Registry, regime: Regime) -> None:
    recipe = {"target_accuracy": None, "max_epochs": 3}
    task = small_digits(registry, "mlp_bn", regime=regime, recipe=recipe, stages=2, train_size=100)
    laws.interruption_changes_nothing(task, Method)
    laws.same_seed_gives_same_result(task, Method)


@pytest.mark.heavy
@pytest.mark.parametrize("regime", [ClassIncremental(), WithinStage(arrival_epochs=2)])
def test_captured_steps_have_the_same_bits(registry: Registry, regime: Regime) -> None:
    task = replace(captured_digits(registry), regime=regime)  # type: ignore[call-arg]
    laws.captured_steps_equal_eager_steps(task, Method)


def test_a_regime_changes_no_initial_weights_and_no_order_of_batches(registry: Registry) -> None:
    plain, repaired = (
        trace_run(small_digits(registry, regime=regime, stages=3), Method())
        for regime in (LabelNoise(noise=(0.0,)), WithinStage(arrival_epochs=2).base)
    )
    assert equal_weights(plain.weights, repaired.weights)


@pytest.mark.heavy
def test_the_recipe_of_equal_steps_takes_as_many_in_every_stage(tmp_path: Any) -> None:
    words = ("--task", "digits", "--method", "warm,cold", "--recipe", "equal_steps")
    steps = ("--set", "max_steps=7", "--set", "max_epochs=none", "--set", "regime=increments")
    answer = small_run(tmp_path, *words, *steps, "--set", "stages=none", "--set", "increments=0.1,0.5")
    assert answer.status == 0, answer.err
    for record in Store(tmp_path).records():
        assert [(row["steps"], row["stop"]) for row in record.stages] == [(7, "max_steps")] * 3


@pytest.mark.heavy
def test_methods_run_under_every_regime(registry: Registry) -> None:
    for regime in REGIMES:
        for name in ("dash", "head_reset"):
            task = small_digits(registry, regime=regime, stages=2, recipe={"max_epochs": 1})
            assert len(trace_run(task, registry.load("method", name)()).results) == 2

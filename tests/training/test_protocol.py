"""The staged loop: stop rules, order of hooks, counting, streams, divergence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor

from plastibench.data.dataset import batch_bounds
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training import protocol
from plastibench.training.callbacks import EpochProgress, TrainingCallback
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner


@dataclass(kw_only=True)
class Diary(Method):
    """Writes down when it was called."""

    entries: list[str] = field(default_factory=list, init=False)

    def start(self, learner: Learner) -> None:
        self.entries.append("start")

    def before_stage(self, learner: Learner) -> None:
        self.entries.append(f"before {learner.stage.index}")

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
        self.entries.append("loss")
        return 0.0

    def after_step(self, learner: Learner) -> None:
        self.entries.append(f"step {learner.step}")

    def after_stage(self, learner: Learner) -> None:
        self.entries.append(f"after {learner.stage.index}")


def test_hooks_are_called_in_their_order(registry: Registry) -> None:
    diary = Diary()
    trace_run(small_digits(registry, recipe={"max_steps": 2}, max_stages=2), diary)
    inside = ["loss", "step 1", "loss", "step 2"]
    later = ["loss", "step 3", "loss", "step 4"]
    assert diary.entries == ["start", *inside, "after 0", "before 1", *later, "after 1"]


def test_sam_asks_for_the_loss_term_in_both_passes(registry: Registry) -> None:
    diary = Diary()
    trial = trace_run(
        small_digits(registry, recipe={"max_steps": 1, "optimizer": "sam"}, max_stages=1), diary
    )
    assert diary.entries == ["start", "loss", "loss", "step 1", "after 0"]
    cost = trial.results[0].cost
    assert (cost.steps, cost.samples, cost.train_passes) == (1, 32, 64)


@pytest.mark.parametrize(
    ("recipe", "stop", "steps"),
    [
        ({"max_epochs": 2}, "max_epochs", [4, 6, 10]),
        ({"max_steps": 3}, "max_steps", [3, 3, 3]),
        ({"target_accuracy": 0.05}, "target_accuracy", [2, 3, 5]),
        ({"max_steps": 1, "max_epochs": 1}, "max_steps", [1, 1, 1]),
    ],
)
def test_a_stage_ends_by_the_rule_that_holds_first(
    registry: Registry, recipe: dict[str, Any], stop: str, steps: list[int]
) -> None:
    results = trace_run(small_digits(registry, recipe=recipe), Method()).results
    assert [result.stop for result in results] == [stop] * 3
    assert [result.cost.steps for result in results] == steps


def test_a_recipe_that_never_ends_is_refused() -> None:
    with pytest.raises(RequestError, match="a stage would never end"):
        Recipe(target_accuracy=None, max_epochs=None)


def test_epochs_and_steps_agree_with_the_papers_arithmetic() -> None:
    # arXiv 2410.23495: batches of 128, no batch dropped: 8 steps an epoch at stage 1, 391 at stage 50.
    assert len(batch_bounds(1000, 128)) == 8
    assert len(batch_bounds(50_000, 128)) == 391
    assert len(batch_bounds(2000, 128)) == 16
    assert len(batch_bounds(100_000, 128)) == 782
    # Its table 1: steps at the last stage are whole epochs over 5 or 3 (Tiny-ImageNet) seeds, cut off.
    for printed, seeds, per_epoch in [
        (5161, 5, 391),
        (1173, 5, 391),
        (5395, 5, 391),
        (6490, 5, 391),
        (30237, 3, 782),
    ]:
        assert any(int(epochs * per_epoch / seeds) == printed for epochs in range(1, 400))


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    assert batch_bounds(257, 128) == [(0, 128), (128, 257)]
    assert batch_bounds(1, 128) == [(0, 1)]


def test_training_goes_on_where_a_last_batch_would_have_one_example(registry: Registry) -> None:
    trial = trace_run(
        small_digits(registry, model="mlp_bn", train_size=97, stages=3, recipe={"max_epochs": 1}), Method()
    )
    assert [result.cost.steps for result in trial.results] == [1, 2, 3]
    assert [result.cost.samples for result in trial.results] == [33, 65, 97]


def test_accuracy_is_a_count_over_a_count_or_the_mean_of_batches(registry: Registry) -> None:
    by_example = trace_run(small_digits(registry), Method()).results[-1]
    legacy = trace_run(small_digits(registry, recipe={"test_accuracy": "batches"}), Method()).results[-1]
    assert by_example.num_test == 600
    assert by_example.test_correct is not None
    assert by_example.test_accuracy == by_example.test_correct / 600
    assert legacy.test_correct == by_example.test_correct
    # 600 = 256 + 256 + 88: the last 88 weigh as much as 256 in the mean of batches.
    assert legacy.test_accuracy != by_example.test_accuracy


def test_the_legacy_mean_of_batches_is_that_of_a_plain_loop(registry: Registry) -> None:
    task = small_digits(registry, recipe={"test_accuracy": "batches"})
    learner = Learner(task, Method(), 0, data_context().device)
    test = next(iter(task.stream(0, data_context()))).test
    assert test is not None
    learner.model.eval()
    shares = [float((learner.model(x).argmax(1) == y).float().mean()) for x, y in test.batches(256)]
    found = evaluate(learner.model, test, task.recipe, learner.device)
    assert found.accuracy("batches") == pytest.approx(sum(shares) / 3, abs=1e-6)


def test_training_accuracy_is_measured_both_ways(registry: Registry) -> None:
    sizes: dict[str, Any] = {"train_size": 72, "stages": 2, "max_stages": 1}
    rates = {
        counting: trace_run(
            small_digits(registry, recipe={"train_accuracy": counting}, **sizes), Method()
        ).results[0]
        for counting in ("examples", "batches")
    }
    # 36 = 32 + 4: four examples weigh half in the mean of batches.
    assert rates["examples"].train_accuracy * 36 == pytest.approx(
        round(rates["examples"].train_accuracy * 36), abs=1e-5
    )
    assert rates["examples"].train_accuracy != rates["batches"].train_accuracy


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(registry: Registry) -> None:
    results = trace_run(small_digits(registry, recipe={"learning_rate": 1e30}), Method()).results
    assert [result.stop for result in results] == ["diverged"]


def test_methods_meet_the_same_order_of_batches(registry: Registry) -> None:
    seen: dict[str, list[Tensor]] = {}

    class Spy(Method):
        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
            seen.setdefault(type(learner.optimizer).__name__, []).append(y.clone())
            return 0.0

    for optimizer in ("sgd", "adam"):
        trace_run(small_digits(registry, recipe={"optimizer": optimizer}), Spy())
    assert all(torch.equal(a, b) for a, b in zip(seen["SGD"], seen["Adam"], strict=True))


def test_a_method_that_stops_a_stage_early_does_not_move_the_next_ones_order(registry: Registry) -> None:
    orders: list[list[Tensor]] = []

    class Spy(Method):
        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
            if learner.stage.index == 1:
                orders[-1].append(y.clone())
            return 0.0

    for epochs in (1, 2):
        orders.append([])
        trace_run(small_digits(registry, recipe={"max_epochs": epochs}), Spy())
    assert all(torch.equal(a, b) for a, b in zip(orders[0], orders[1], strict=False))


class Listening(TrainingCallback):
    def __init__(self) -> None:
        self.told: list[EpochProgress] = []

    def on_epoch_end(self, epoch: EpochProgress) -> None:
        self.told.append(epoch)


def test_company_is_told_of_every_epoch(task: Task) -> None:
    callback = Listening()
    results = list(protocol.run(task, Method(), 0, data_context(), callback=callback))
    assert [(epoch.stage, epoch.epoch) for epoch in callback.told] == [
        (result.index, epoch + 1) for result in results for epoch in range(result.epochs)
    ]


def test_validation_is_measured_where_it_was_carved(registry: Registry) -> None:
    with_it = trace_run(small_digits(registry, validation=0.2), Method()).results
    assert all(result.validation_accuracy is not None for result in with_it)
    assert trace_run(small_digits(registry), Method()).results[0].validation_accuracy is None


def test_a_method_that_cannot_run_says_why(task: Task) -> None:
    @dataclass(kw_only=True)
    class Never(Method):
        def unsupported(self, task: Task) -> str | None:
            return "it has no head"

    with pytest.raises(RequestError, match="Never cannot run on Digits: it has no head"):
        next(protocol.run(task, Never(), 0, data_context()))


@pytest.mark.parametrize("policy", ["keep", "reset", "reestimate"])
def test_the_policy_on_batch_norm_is_applied_between_stages(registry: Registry, policy: Any) -> None:
    seen: list[Tensor] = []

    class Spy(Method):
        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
            return 0.0

        def after_step(self, learner: Learner) -> None:
            if learner.cost.steps == 1:
                norm = next(m for m in learner.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
                assert norm.running_mean is not None
                assert norm.momentum == 0.1
                seen.append(norm.running_mean.clone())

    trial = trace_run(small_digits(registry), Spy(batch_norm=policy))
    forwards = [result.cost.remedy_forwards for result in trial.results]
    assert forwards == ([0, 87, 130] if policy == "reestimate" else [0, 0, 0])
    baseline = trace_run(small_digits(registry), Method())
    assert equal_weights(trial.weights[:1], baseline.weights[:1])
    assert equal_weights(trial.weights[1:], baseline.weights[1:]) == (policy == "keep")


def test_clearing_the_optimizer_forgets_momentum(registry: Registry) -> None:
    kept = trace_run(small_digits(registry), Method()).weights
    cleared = trace_run(small_digits(registry), Method(optimizer_state="clear")).weights
    assert equal_weights(kept[:1], cleared[:1])
    assert not equal_weights(kept[1:], cleared[1:])


def test_sam_statistics_move_in_both_passes_or_in_the_first(registry: Registry) -> None:
    both, first = (
        trace_run(small_digits(registry, recipe={"optimizer": "sam", "sam_statistics": which}), Method())
        for which in ("both", "first")
    )
    names = [name for name in both.weights[0] if "num_batches" in name]
    assert all(both.weights[0][name] == 2 * first.weights[0][name] for name in names)


def test_augmentation_changes_training_and_leaves_the_test_set(registry: Registry) -> None:
    class Flipping(type(small_digits(registry))):  # type: ignore[misc]
        from plastibench.data.augment import RandomHorizontalFlip

        augmentation = RandomHorizontalFlip()

    plain = small_digits(registry, recipe={"augment": True})
    task = Flipping(recipe=plain.recipe, architecture=plain.architecture, stages=3, train_size=130)
    a, b, without = trace_run(task, Method()), trace_run(task, Method()), trace_run(plain, Method())
    assert equal_weights(a.weights, b.weights)
    assert not equal_weights(a.weights, without.weights)

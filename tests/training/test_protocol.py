"""The staged protocol: stop rules, order of hooks, counting, random streams, divergence."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
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
from plastibench.training.batch_norm import averaged_batch_norm_statistics
from plastibench.training.callbacks import (
    Checkpointer,
    EpochProgress,
    IncompatibleCheckpointError,
    StateDict,
    StopRequested,
    TrainingCallback,
)
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner


def hook_recorder(calls: list[str]) -> Method:
    """Return a method that appends the calls of its hooks to a list."""

    @dataclass(kw_only=True)
    class HookRecorder(Method):
        def start(self, learner: Learner) -> None:
            calls.append("start")

        def before_stage(self, learner: Learner) -> None:
            calls.append(f"before {learner.stage.index}")

        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
            calls.append("loss")
            return 0.0

        def after_step(self, learner: Learner) -> None:
            calls.append(f"step {learner.step}")

        def after_stage(self, learner: Learner) -> None:
            calls.append(f"after {learner.stage.index}")

    return HookRecorder()


def test_hooks_are_called_in_order(registry: Registry) -> None:
    calls: list[str] = []
    trace_run(small_digits(registry, recipe={"max_steps": 2}, max_stages=2), hook_recorder(calls))
    inside = ["loss", "step 1", "loss", "step 2"]
    later = ["loss", "step 3", "loss", "step 4"]
    assert calls == ["start", *inside, "after 0", "before 1", *later, "after 1"]


def test_sam_calls_the_loss_term_in_both_passes(registry: Registry) -> None:
    calls: list[str] = []
    task = small_digits(registry, recipe={"max_steps": 1, "optimizer": "sam"}, max_stages=1)
    cost = trace_run(task, hook_recorder(calls)).results[0].cost
    assert calls == ["start", "loss", "loss", "step 1", "after 0"]
    assert (cost.steps, cost.samples, cost.train_passes) == (1, 32, 64)


@dataclass(kw_only=True)
class StepCounter(Method):
    """Scales the first weights by the number of steps it has seen."""

    steps: int = field(default=0, init=False)

    def after_step(self, learner: Learner) -> None:
        self.steps += 1
        next(learner.model.parameters()).mul_(1 - 1e-3 * self.steps)


def test_an_instance_run_twice_gives_the_same_numbers_and_keeps_nothing(registry: Registry) -> None:
    task, method = small_digits(registry, recipe={"max_steps": 2}, max_stages=2), StepCounter()
    first, second = trace_run(task, method), trace_run(task, method)
    assert equal_weights(first.weights, second.weights)
    assert first.rows() == second.rows()
    assert method == StepCounter()


@pytest.mark.parametrize(
    ("recipe", "stop", "steps"),
    [
        ({"max_epochs": 2}, "max_epochs", [4, 6, 10]),
        ({"max_steps": 3}, "max_steps", [3, 3, 3]),
        ({"target_accuracy": 0.05}, "target_accuracy", [2, 3, 5]),
        ({"max_steps": 1, "max_epochs": 1}, "max_steps", [1, 1, 1]),
    ],
)
def test_the_first_stop_rule_that_holds_ends_the_stage(
    registry: Registry, recipe: dict[str, Any], stop: str, steps: list[int]
) -> None:
    results = trace_run(small_digits(registry, recipe=recipe), Method()).results
    assert [result.stop for result in results] == [stop] * 3
    assert [result.cost.steps for result in results] == steps


def test_a_recipe_that_never_ends_is_an_error() -> None:
    with pytest.raises(RequestError, match="a stage would never end"):
        Recipe(target_accuracy=None, max_epochs=None)


@dataclass(kw_only=True)
class Odd(Method):
    """Does in one hook what has no effect."""

    hook: str = "start"
    effect: str = "returns"
    strength: float = 1.0

    def _act(self, hook: str, learner: Learner) -> Any:
        if hook == self.hook and self.effect == "returns":
            return learner.model
        if hook == self.hook and self.effect == "changes":
            self.strength *= 0.5
        elif hook == self.hook:
            learner.average = 0.5  # type: ignore[attr-defined]
        return None

    def start(self, learner: Learner) -> None:
        return self._act("start", learner)  # type: ignore[no-any-return]

    def before_stage(self, learner: Learner) -> None:
        return self._act("before_stage", learner)  # type: ignore[no-any-return]

    def after_step(self, learner: Learner) -> None:
        return self._act("after_step", learner)  # type: ignore[no-any-return]

    def after_stage(self, learner: Learner) -> None:
        return self._act("after_stage", learner)  # type: ignore[no-any-return]


@pytest.mark.parametrize("hook", ["start", "before_stage", "after_step", "after_stage"])
def test_a_hook_whose_effect_would_be_lost_is_an_error(registry: Registry, hook: str) -> None:
    task = small_digits(registry, recipe={"max_steps": 1}, max_stages=2)
    with pytest.raises(RequestError, match=rf"^{hook} of Odd returns a \w+, which nothing uses"):
        trace_run(task, Odd(hook=hook))
    with pytest.raises(RequestError, match=rf"^{hook} of Odd changes its setting strength"):
        trace_run(task, Odd(hook=hook, effect="changes"))
    with pytest.raises(RequestError, match=rf"^{hook} of Odd changes learner.average, which no checkpoint"):
        trace_run(task, Odd(hook=hook, effect="keeps"))


def test_steps_per_epoch_are_those_of_the_paper() -> None:
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


def test_a_last_batch_of_one_is_merged_into_the_one_before() -> None:
    assert batch_bounds(257, 128) == [(0, 128), (128, 257)]
    assert batch_bounds(1, 128) == [(0, 1)]


def test_training_works_if_a_last_batch_would_have_one_example(registry: Registry) -> None:
    trace = trace_run(
        small_digits(registry, model="mlp_bn", train_size=97, stages=3, recipe={"max_epochs": 1}), Method()
    )
    assert [result.cost.steps for result in trace.results] == [1, 2, 3]
    assert [result.cost.samples for result in trace.results] == [33, 65, 97]


def test_accuracy_is_averaged_over_examples_or_batches(registry: Registry) -> None:
    by_example = trace_run(small_digits(registry), Method()).results[-1]
    legacy = trace_run(small_digits(registry, recipe={"test_accuracy": "batches"}), Method()).results[-1]
    assert by_example.num_test == 600
    assert by_example.test_correct is not None
    assert by_example.test_accuracy == by_example.test_correct / 600
    assert legacy.test_correct == by_example.test_correct
    # 600 = 256 + 256 + 88: the last 88 weigh as much as 256 in the mean of batches.
    assert legacy.test_accuracy != by_example.test_accuracy


def test_the_mean_over_batches_is_that_of_a_plain_loop(registry: Registry) -> None:
    task = small_digits(registry, recipe={"test_accuracy": "batches"})
    learner = Learner(task, Method(), 0, data_context().device)
    test = next(iter(task.stream(0, data_context()))).test
    assert test is not None
    learner.model.eval()
    accuracies = [float((learner.model(x).argmax(1) == y).float().mean()) for x, y in test.batches(256)]
    metrics = evaluate(learner.model, test, task.recipe, learner.device)
    assert metrics.accuracy("batches") == pytest.approx(sum(accuracies) / 3, abs=1e-6)


def test_training_accuracy_is_averaged_both_ways(registry: Registry) -> None:
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


def test_a_loss_that_is_not_finite_ends_the_run(registry: Registry) -> None:
    results = trace_run(small_digits(registry, recipe={"learning_rate": 1e30}), Method()).results
    assert [result.stop for result in results] == ["diverged"]


def test_the_order_of_batches_does_not_depend_on_the_optimizer(registry: Registry) -> None:
    seen: dict[str, list[Tensor]] = {}

    class Spy(Method):
        def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> float:
            seen.setdefault(type(learner.optimizer).__name__, []).append(y.clone())
            return 0.0

    for optimizer in ("sgd", "adam"):
        trace_run(small_digits(registry, recipe={"optimizer": optimizer}), Spy())
    assert all(torch.equal(a, b) for a, b in zip(seen["SGD"], seen["Adam"], strict=True))


def test_the_length_of_a_stage_does_not_change_the_order_of_the_next_one(registry: Registry) -> None:
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


class EpochRecorder(TrainingCallback):
    def __init__(self) -> None:
        self.epochs: list[EpochProgress] = []

    def on_epoch_end(self, epoch: EpochProgress) -> None:
        self.epochs.append(epoch)


def test_callbacks_are_called_after_every_epoch(task: Task) -> None:
    callback = EpochRecorder()
    results = list(protocol.run(task, Method(), 0, data_context(), callback=callback))
    assert [(epoch.stage, epoch.epoch) for epoch in callback.epochs] == [
        (result.index, epoch + 1) for result in results for epoch in range(result.epochs)
    ]


def test_validation_data_are_evaluated_if_there_are_any(registry: Registry) -> None:
    with_it = trace_run(small_digits(registry, validation=0.2), Method()).results
    assert all(result.validation_accuracy is not None for result in with_it)
    assert trace_run(small_digits(registry), Method()).results[0].validation_accuracy is None


def test_a_method_that_does_not_support_the_task_is_an_error(task: Task) -> None:
    @dataclass(kw_only=True)
    class Unsupported(Method):
        def unsupported(self, task: Task) -> str | None:
            return "it has no head"

    with pytest.raises(RequestError, match="Unsupported cannot run on Digits: it has no head"):
        next(protocol.run(task, Unsupported(), 0, data_context()))


@pytest.mark.parametrize("policy", ["keep", "reset", "reestimate"])
def test_the_batch_norm_policy_is_applied_between_stages(registry: Registry, policy: Any) -> None:
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

    trace = trace_run(small_digits(registry), Spy(batch_norm=policy))
    forwards = [result.cost.remedy_forwards for result in trace.results]
    assert forwards == ([0, 87, 130] if policy == "reestimate" else [0, 0, 0])
    counted = [bool(result.cost.phases["remedy"].flops) for result in trace.results]
    assert counted == [count > 0 for count in forwards]
    baseline = trace_run(small_digits(registry), Method())
    assert equal_weights(trace.weights[:1], baseline.weights[:1])
    assert equal_weights(trace.weights[1:], baseline.weights[1:]) == (policy == "keep")


def test_averaged_batch_norm_statistics_are_torchs_without_its_waiting() -> None:
    norm = torch.nn.BatchNorm2d(3)
    twice = torch.nn.Sequential(norm, norm)  # a layer that runs twice in a pass counts twice
    averaged, reference = copy.deepcopy(twice), copy.deepcopy(twice)
    reference[0].momentum = None  # type: ignore[assignment]
    images = torch.randn(5, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    averaged(images[0])  # what came before is forgotten
    with averaged_batch_norm_statistics(averaged), torch.profiler.profile() as profile:
        for batch in images:
            averaged(batch)
    for batch in images:
        reference(batch)
    assert averaged[0].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(averaged.buffers(), reference.buffers(), strict=True))
    assert "aten::_local_scalar_dense" not in {event.key for event in profile.key_averages()}


class InterruptOnce(Checkpointer):
    """Saves the state after the third step, which ends the run, and resumes from it."""

    def __init__(self) -> None:
        self.steps, self.state = 0, StateDict()

    def resume_state(self) -> StateDict | None:
        return self.state or None

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        self.steps += not between_stages
        return self.steps == 3

    def save_state(self, state: StateDict) -> None:
        self.state = state
        raise StopRequested


def test_a_state_that_lacks_the_progress_of_the_epoch_is_incompatible(task: Task) -> None:
    checkpointer = InterruptOnce()
    with pytest.raises(StopRequested):
        list(protocol.run(task, Method(), 0, data_context(), checkpointer=checkpointer))
    del checkpointer.state["training"]["metrics"]
    with pytest.raises(IncompatibleCheckpointError, match="metrics"):
        next(protocol.run(task, Method(), 0, data_context(), checkpointer=checkpointer))


def test_clearing_the_optimizer_state_changes_later_stages(registry: Registry) -> None:
    kept = trace_run(small_digits(registry), Method()).weights
    cleared = trace_run(small_digits(registry), Method(optimizer_state="clear")).weights
    assert equal_weights(kept[:1], cleared[:1])
    assert not equal_weights(kept[1:], cleared[1:])


@pytest.mark.heavy
def test_sam_updates_running_statistics_in_both_passes_or_in_the_first(registry: Registry) -> None:
    both, first = (
        trace_run(small_digits(registry, recipe={"optimizer": "sam", "sam_statistics": which}), Method())
        for which in ("both", "first")
    )
    names = [name for name in both.weights[0] if "num_batches" in name]
    assert all(both.weights[0][name] == 2 * first.weights[0][name] for name in names)


@pytest.mark.heavy
def test_augmentation_changes_the_training_reproducibly(registry: Registry) -> None:
    class Flipping(type(small_digits(registry))):  # type: ignore[misc]
        from plastibench.data.augment import RandomHorizontalFlip

        augmentation = RandomHorizontalFlip()

    plain = small_digits(registry)
    recipe = replace(plain.recipe, augment=True)
    task = Flipping(recipe=recipe, architecture=plain.architecture, stages=3, train_size=130)
    a, b, without = trace_run(task, Method()), trace_run(task, Method()), trace_run(plain, Method())
    assert equal_weights(a.weights, b.weights)
    assert not equal_weights(a.weights, without.weights)

"""Time the first stages of a run, within a limit and without a record."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from plastibench.experiments.spec import Spec, build
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.recipe_changes import trained_task
from plastibench.plugins.stages import stages_of
from plastibench.profiling.stage_times import StageSize, StageTime, work
from plastibench.runner.context import RunContext
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer
from plastibench.training.cost import FORWARD
from plastibench.training.evaluation import evaluate
from plastibench.training.flops import flop_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.task import Task

MIN_STAGES, MAX_FRACTION = 3, 0.5
"""Stages to time at most, or this fraction of all if that is more."""
ENOUGH_STAGES = 2
"""Complete stages from which on the one in which the limit is reached does not count."""
USUAL_EPOCHS = 20
"""Epochs of a stage whose end is not reached within the limit: between 12 and 60 in the shipped tasks."""
LATER_STAGE_STEPS = 0.5
"""Steps of a later stage as a share of what fresh weights would take, which is 0.2 to more than 1."""


class _TimeIsUp(Exception):  # noqa: N818 - not an error
    """The limit has passed."""


class _Stopwatch(Checkpointer):
    """Counts the steps of a run, each of which asks for a checkpoint, and ends it after the limit."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline: float | None = None
        self.begin_stage()

    def begin_stage(self) -> None:
        """Start to count the steps of a stage."""
        self.num_steps = 0
        self.first_step_end = perf_counter()

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        """Count a step. Raises _TimeIsUp."""
        if between_stages:
            return False
        now = perf_counter()
        self.num_steps += 1
        if self.num_steps == 1:
            self.first_step_end = now
        if self.deadline is None:  # data are read and kernels are prepared by now
            self.deadline = now + self.seconds
        if now > self.deadline and self.num_steps > 1:
            raise _TimeIsUp
        return False

    def step_seconds(self) -> float:
        """Return the seconds of a step of the stage, the first of which prepares kernels."""
        return (perf_counter() - self.first_step_end) / max(1, self.num_steps - 1)


def time_first_stages(
    spec: Spec, context: RunContext, sizes: Sequence[StageSize], seconds: float, *, to_the_end: bool = False
) -> list[StageTime]:
    """Train a run for its first stages, or to the end, for so many seconds; return what its stages take.

    A first or second stage in which the limit is reached is extrapolated. The cost of evaluating the test set
    is estimated, nothing is written. Returns nothing if the run fails: it will say so itself.
    """
    times: list[StageTime] = []
    num_steps: list[int] = []
    with suppress(Exception):
        task, method = build(spec, context.registry)
        watch, device = _Stopwatch(seconds), context.data_context.device
        options: dict[str, Any] = {"checkpointer": watch, "measures": protocol.Measures(held_out_test=True)}
        results = protocol.run(task, method, spec.seed, context.data_context, **options)
        try:
            num_stages = len(sizes) if to_the_end else max(MIN_STAGES, int(MAX_FRACTION * len(sizes)))
            for size, result in zip(sizes[:num_stages], results, strict=False):
                row = result.as_dict()
                passes = max(1, row["train_passes"])
                each, flops = row["train_seconds"] / passes, (row["train_flops"] or 0) / passes
                times.append(_with_test(StageTime.from_row(row), size, each, flops))
                num_steps.append(row["steps"])
                watch.begin_stage()
        except _TimeIsUp:
            if len(times) >= ENOUGH_STAGES:
                return times
            device.synchronize()
            each, size = watch.step_seconds(), sizes[len(times)]
            steps = max(watch.num_steps, _expected_steps(task.recipe, sizes[: len(times) + 1], num_steps))
            flops = _step_flops(trained_task(task, method))
            whole = StageTime(
                index=len(times),
                num_train=size.num_train,
                seconds=each * steps,
                evaluation=0.0,
                flops=None if flops is None else flops * steps,
                memory=device.max_memory_allocated(),
                is_complete=False,
            )
            batch_size = task.recipe.batch_size
            times.append(_with_test(whole, size, each / batch_size, (flops or 0.0) / batch_size))
    return times


def evaluate_batch(spec: Spec, context: RunContext) -> None:
    """Evaluate a new model on as many training examples as are tested at once, for the memory that it takes.

    Does nothing if that fails: the run will say so itself.
    """
    with suppress(Exception), torch.random.fork_rng(devices=[]):
        task, method = build(spec, context.registry)
        where = context.data_context
        train = next(stages_of(task, spec.seed, where)).train
        examples = train.take(torch.arange(task.recipe.test_batch_size) % len(train))
        model = where.device.prepare_model(method.build(task))
        evaluate(model, examples, task.recipe, where.device)


def _step_flops(task: Task) -> float | None:
    """Return the FLOPs of a training step on a full batch, or None if the model cannot be traced."""
    if not isinstance(task, ClassificationTask):
        return None
    model = flop_model(task.model(), task.input_shape(), backward=True)
    each = None if model is None else model.flops(task.recipe.batch_size).matrix
    return None if each is None else float(task.recipe.num_passes() * each)


def _with_test(time: StageTime, size: StageSize, seconds: float, flops: float) -> StageTime:
    """Add the evaluation of the test set, by the seconds and the FLOPs of a training pass of an example."""
    passes = size.num_test * FORWARD
    counted = None if time.flops is None else time.flops + passes * flops
    return replace(time, evaluation=time.evaluation + passes * seconds, flops=counted)


def _expected_steps(recipe: Recipe, sizes: Sequence[StageSize], done: Sequence[int]) -> int:
    """Return the steps of the last of these stages, given those of the stages before.

    Without a target they are those of the limit, in a first stage those of the usual number of epochs.
    """
    num_train = sizes[-1].num_train
    limit = step_limit(recipe, num_train)
    if recipe.target_accuracy is None and limit is not None:
        return limit
    usual = USUAL_EPOCHS * -(-num_train // recipe.batch_size)
    expected = (
        round(LATER_STAGE_STEPS * done[0] * work(num_train) / work(sizes[0].num_train)) if done else usual
    )
    return expected if limit is None else min(expected, limit)


def step_limit(recipe: Recipe, num_train: int) -> int | None:
    """Return the most steps that a stage can have; None if nothing but its target ends it."""
    epochs, steps = recipe.max_epochs, recipe.max_steps
    limits = [] if epochs is None else [epochs * -(-num_train // recipe.batch_size)]
    return min([*limits, *([] if steps is None else [steps])], default=None)

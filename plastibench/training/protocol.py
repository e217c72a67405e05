"""The staged protocol: in each stage data arrive, the method acts, the model is trained and evaluated.

Names no method, task, device or tracker, and writes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from plastibench.devices.graph_capture import GraphCapturer
from plastibench.errors import RequestError, count
from plastibench.plugins.data_checksum import data_checksum
from plastibench.plugins.layers import unsupported_weights
from plastibench.plugins.method import Method, call_hook
from plastibench.plugins.probe import ARRIVAL, STAGE_END, STAGE_START, Probe
from plastibench.plugins.stages import sealed, stages_of
from plastibench.plugins.task import DataContext, Pool, Stage, Task
from plastibench.training import state
from plastibench.training.callbacks import Checkpointer, StateDict, TrainingCallback
from plastibench.training.cost import Cost
from plastibench.training.evaluation import evaluate, predict
from plastibench.training.learner import Learner
from plastibench.training.probing import StageProbes
from plastibench.training.shared_model import share_model
from plastibench.training.trainer import DIVERGED, Trainer, TrainResult

VERSION = 2
"""Increased whenever a change here or in what it calls changes results; part of every run's id."""


@dataclass(frozen=True)
class StageResult:
    """The result of one stage."""

    index: int
    num_train: int
    num_new: int
    epochs: int
    stop: str
    """Why training ended: see `TrainResult`."""
    train_accuracy: float
    """Of the last epoch, averaged as the recipe says, measured during training."""
    train_loss: float
    test_accuracy: float | None
    """Averaged as the recipe says. None, as is everything about the test set, if the run holds it out."""
    test_correct: int | None
    num_test: int | None
    test_loss: float | None
    validation_accuracy: float | None
    cost: Cost
    data: str
    """Checksum of the data set."""
    probes: Mapping[str, Any]
    """Measurements of probes by `probe.measurement`, and what they cost; empty without probes."""
    logged: Mapping[str, float | None] = field(default_factory=dict)
    """What the method reports by `learner.log`, as `log.NAME`."""

    def as_dict(self) -> dict[str, Any]:
        """Return a flat dictionary of plain values: costs, measurements of probes and reports included."""
        nested = ("cost", "probes", "logged")
        plain = {name: value for name, value in vars(self).items() if name not in nested}
        return {**plain, **self.cost.as_dict(), **self.probes, **self.logged}


@dataclass(frozen=True)
class Measures:
    """What is measured of every stage."""

    held_out_test: bool = False
    """Whether nothing reads the test data, as during tuning."""
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """By name."""


def run(
    task: Task,
    method: Method,
    seed: int,
    context: DataContext,
    *,
    callback: TrainingCallback | None = None,
    checkpointer: Checkpointer | None = None,
    measures: Measures | None = None,
) -> Iterator[StageResult]:
    """Take a method through the stages of a task; yield the result of each.

    The run has a copy of the method, without the state of other runs. A resumed run yields first the result
    of the stage that its state was saved in. Of several ranks, each calls this function alike, but
    the first alone has a checkpointer that saves, and probes. Raises RequestError if the method does not
    support the task, DataError if data are missing or not those of the saved state.
    """
    method = replace(method)
    callback, checkpointer = callback or TrainingCallback(), checkpointer or Checkpointer()
    resumed, measures = checkpointer.resume_state(), measures or Measures()
    _check_supported(task, method, measures.probes)
    probes = StageProbes(measures.probes)
    learner: Learner | None = None
    checksum: str | None = None
    for arrived in stages_of(task, seed, context):
        if checksum is None:
            checksum = data_checksum(task, arrived, context, held_out_test=measures.held_out_test)
            checkpointer.check_data(checksum)
            if arrived.left_out:
                callback.on_left_out(arrived.left_out)
        stage = replace(arrived, checksum=checksum)
        if resumed is not None and stage.index < resumed["stage"]:
            if arrived.pool is not None:
                arrived.pool.order = resumed["learner"]["choices"][stage.index]
            continue
        if learner is None:
            learner = Learner(task, method, seed, context.device, context.ranks)
            capturer = _graph_capturer(learner, method, callback)
        stage = replace(stage, test=None if measures.held_out_test else stage.test)
        learner.begin_stage(sealed(stage, method))
        learner.ranks.at(stage.index, 0, 0)
        probes.begin_stage(stage.test)
        _start_stage(learner, method, checkpointer, resumed, probes)
        options: dict[str, Any] = {"capturer": capturer, "resumed": resumed, "probes": probes}
        trainer = Trainer(learner, method, callback, checkpointer, **options)
        trained = trainer.run()
        del trainer  # and the memory of its captured steps
        resumed = None
        result = _evaluate(learner, method, trained, probes, stage)
        with learner.cost.measure("remedy", context.device):
            call_hook(method, "after_stage", learner)
        yield replace(result, logged=learner.logged())
        if result.stop == DIVERGED:
            break
    else:
        _check_num_stages(task, learner)
    if learner is not None:
        callback.on_train_end(learner.model)


def _check_supported(task: Task, method: Method, probes: Mapping[str, Probe]) -> None:
    """Raise RequestError if the method or a probe cannot act on the task or its model."""
    plugins: list[Method | Probe] = [method, *probes.values()]
    for plugin in plugins:
        reason = plugin.unsupported(task) or unsupported_weights(plugin, partial(method.build, task))
        if reason is not None:
            raise RequestError(f"{type(plugin).__name__} cannot run on {type(task).__name__}: {reason}")


def _check_num_stages(task: Task, learner: Learner | None) -> None:
    num_stages = 0 if learner is None else learner.stage.index + 1
    if num_stages != task.num_stages():
        name = type(task).__name__
        raise RequestError(
            f"the stream of {name} has {count(num_stages, 'stage')}, but its num_stages() is "
            f"{task.num_stages()}"
        )


def _graph_capturer(learner: Learner, method: Method, callback: TrainingCallback) -> GraphCapturer | None:
    """Return the capturer of the run's steps, or None if the device or the method runs them eagerly."""
    capturer = learner.device.graph_capturer()
    if capturer is not None and learner.ranks.size > 1:
        callback.on_log("on several devices each step is run eagerly")
        return None
    if capturer is not None and not method.can_be_captured():
        name = type(method).__name__
        callback.on_log(f"{name} does not declare its hooks capturable: each step is run eagerly")
        return None
    return capturer


def _start_stage(
    learner: Learner,
    method: Method,
    checkpointer: Checkpointer,
    resumed: StateDict | None,
    probes: StageProbes,
) -> None:
    """Prepare a stage, or load the state that was saved before or during its training."""
    if resumed is not None:
        state.load_state_dict(resumed, learner, method)
        if "training" in resumed:
            return
        state.load_rng_state(resumed, learner)
    elif checkpointer.should_checkpoint(between_stages=True):
        checkpointer.save_state(state.state_dict(learner, method))
    probes.measure(ARRIVAL, learner)
    prepare_stage(learner, method)
    probes.measure(STAGE_START, learner)


def prepare_stage(learner: Learner, method: Method) -> None:
    """Let the method act between stages, then apply the policies that it declares."""
    with learner.cost.measure("remedy", learner.device), torch.no_grad():
        if learner.stage.index == 0:
            call_hook(method, "start", learner)
        else:
            call_hook(method, "before_stage", learner)
            if method.optimizer_state == "clear":
                learner.clear_optimizer_state()
            if method.batch_norm == "reset":
                learner.reset_batch_norm()
            elif method.batch_norm == "reestimate":
                learner.reestimate_batch_norm()
        share_model(learner)
    learner.check_optimizer()


def _choose(learner: Learner, model: nn.Module, pool: Pool) -> None:
    """Let a model choose which examples arrive next."""
    logits, flops = predict(model, pool.data, learner.task.recipe, learner.device)
    pool.order = pool.rank(logits)
    learner.ranks.copy_first_([pool.order])
    learner.choices.append(pool.order)
    learner.cost.evaluation_forwards += len(pool.data)
    learner.cost.add_flops("evaluation", flops)


def _evaluate(
    learner: Learner, method: Method, trained: TrainResult, probes: StageProbes, stage: Stage
) -> StageResult:
    """Evaluate the model that the method chooses, on the test, validation and pool data that there are."""
    recipe, cost = learner.task.recipe, learner.cost
    with cost.measure("remedy", learner.device):
        model = method.evaluated(learner)
    learner.stage = replace(stage, pool=None)  # with the test data, which the method may now see
    how: dict[str, Any] = {"ranks": learner.ranks, "capturer": learner.capturer}
    with cost.measure("evaluation", learner.device):
        test, validation = (
            None if data is None else evaluate(model, data, recipe, learner.device, stage.num_classes, **how)
            for data in (stage.test, stage.validation)
        )
        if stage.pool is not None:
            _choose(learner, model, stage.pool)
    for metrics in (test, validation):
        if metrics is not None:
            cost.evaluation_forwards += metrics.num_examples
            cost.add_flops("evaluation", metrics.flops)
    probes.measure(STAGE_END, learner)
    if learner.ranks.size > 1:  # only one device has been measured
        for part in cost.phases.values():
            part.energy = None
    return StageResult(
        index=stage.index,
        num_train=len(stage.train),
        num_new=stage.num_new,
        epochs=trained.num_epochs,
        stop=trained.stop,
        train_accuracy=trained.metrics.accuracy(recipe.train_accuracy),
        train_loss=trained.metrics.loss,
        test_accuracy=None if test is None else test.accuracy(recipe.test_accuracy),
        test_correct=None if test is None else test.num_correct,
        num_test=None if test is None else test.num_examples,
        test_loss=None if test is None else test.loss,
        validation_accuracy=None if validation is None else validation.accuracy(recipe.test_accuracy),
        cost=cost,
        data=stage.checksum,
        probes=probes.row(),
    )

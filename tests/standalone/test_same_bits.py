"""A remedy without the harness does to the bit what it does in a run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.tasks import small_digits
from torch import Tensor, nn
from torch.optim import Optimizer

import plastibench
from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage, Task
from plastibench.seeding import derive_seed, generator, seeded_init
from plastibench.standalone.once import ELSEWHERE
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner
from plastibench.training.optimizers import build_optimizer
from plastibench.training.protocol import prepare_stage
from plastibench.training.step import TrainStep

SEED = 3
NAMES = Registry().names("method")
RECIPE = {"batch_size": 20, "learning_rate": 0.05, "target_accuracy": None, "max_epochs": 2}
"""With three steps an epoch, the last one of a small batch."""


def acts_once(cls: type[Method]) -> bool:
    return not set(cls.own_hooks()) & ELSEWHERE.keys()


CLASSES = {name: Registry().load("method", name) for name in NAMES}
BETWEEN = [name for name, cls in CLASSES.items() if acts_once(cls)]
WITHIN = [name for name, cls in CLASSES.items() if not acts_once(cls) and "build" not in cls.own_hooks()]
PRESETS = [
    pytest.param(f"{name}:{preset}", marks=pytest.mark.heavy)
    for name in BETWEEN
    for preset in CLASSES[name].presets
]
NOT_IN_A_PLAIN_LOOP = ("sam", "muon", "data_augmentation")


def model_of(task: Task) -> nn.Module:
    """Return the model that a run begins with."""
    with seeded_init(SEED, "init", 0, 0):
        return get_device("cpu").prepare_model(task.model())


def state_of(model: nn.Module, optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield all tensors of a model and of its optimizer's state, and the options of its groups."""
    yield from model.state_dict().values()
    for group in optimizer.param_groups:
        for weight in group["params"]:
            options = [group[name] for name in ("lr", "weight_decay")]
            yield torch.tensor([float(value) for value in options], dtype=torch.float64)
            yield from (v for v in optimizer.state.get(weight, {}).values() if isinstance(v, Tensor))


def assert_equal(one: Iterator[Tensor], other: Iterator[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


def harness(task: Task, method: Method) -> tuple[Learner, list[Stage]]:
    """Return a learner that has started, and taken some steps of its first stage."""
    stages = list(task.stream(SEED, data_context()))
    learner = Learner(task, method, SEED, get_device("cpu"))
    learner.begin_stage(stages[0])
    prepare_stage(learner, method)
    step = TrainStep(learner, method)
    for batch in stages[0].train.batches(20):
        step(*batch)
    return learner, stages


@pytest.mark.parametrize("name", [*BETWEEN, *PRESETS])
def test_to_act_once_is_what_the_protocol_does_between_stages(registry: Registry, name: str) -> None:
    task = small_digits(registry, recipe=RECIPE)
    cls, preset = registry.load("method", name.partition(":")[0]), name.partition(":")[2]
    method = cls(**cls.presets.get(preset, {}))
    learner, stages = harness(task, method)
    model = copy.deepcopy(learner.model)
    optimizer = build_optimizer(task.recipe, model.parameters())
    optimizer.load_state_dict(copy.deepcopy(learner.optimizer.state_dict()))
    learner.begin_stage(stages[1])
    prepare_stage(learner, method)
    batches = list(stages[1].train.batches(20))
    done = plastibench.apply(
        name,
        model,
        optimizer,
        batches,
        fresh=task.model,
        initial=model_of(task),
        chunks=stages[1].chunks,
        seed=SEED,
    )
    assert_equal(state_of(model, optimizer), state_of(learner.model, learner.optimizer))
    assert (done.passes, done.forwards) == (learner.cost.remedy_passes, learner.cost.remedy_forwards)


def own_run(task: Task, name: str, settings: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """Train in a plain loop with a remedy; yield what is to be evaluated after each stage."""
    model = model_of(task)
    optimizer = torch.optim.SGD(model.parameters(), task.recipe.learning_rate, momentum=task.recipe.momentum)
    remedy = None
    for stage in task.stream(SEED, data_context()):
        batches = list(stage.train.batches(20))
        if remedy is None:
            options = {"fresh": task.model, "seed": SEED, **settings}
            remedy = plastibench.remedy(name, model, optimizer, batches, chunks=stage.chunks, **options)
        else:
            remedy.next_stage(batches, chunks=stage.chunks)
        torch.manual_seed(derive_seed(SEED, "layers", stage.index))
        order = generator(SEED, "order", stage.index)
        for _ in range(2):
            for x, y in stage.train.batches(20, torch.randperm(len(stage.train), generator=order)):
                logits = model(x)
                loss = F.cross_entropy(logits, y) + remedy.loss_term(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        tensors = remedy.evaluated_model().state_dict()
        yield {name: value.clone() for name, value in tensors.items()}
    assert remedy is not None
    remedy.close()


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in WITHIN if name not in NOT_IN_A_PLAIN_LOOP])
def test_a_plain_loop_with_a_remedy_trains_as_a_run_does(registry: Registry, name: str) -> None:
    task, cls = small_digits(registry, "mlp_bn", RECIPE, train_size=100), registry.load("method", name)
    run = trace_run(task, cls(**cls.active), SEED)
    own = list(own_run(task, name, dict(cls.active)))
    assert len(run.weights) == len(own) == 3
    for of_run, of_loop in zip(run.weights, own, strict=True):
        assert of_run.keys() == of_loop.keys()
        for tensor, value in of_run.items():
            assert torch.equal(value, of_loop[tensor]), tensor

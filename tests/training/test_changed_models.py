"""Methods that change the optimizer or the model: each group keeps its rate, a resumed run its bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from support.tasks import small_digits
from torch import nn

from plastibench.devices import Cpu
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_interrupted_run, trace_run
from plastibench.training import optimizers
from plastibench.training.learner import Learner

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "warm-up": {"warmup_epochs": 1},
    "decay": {"schedule": "steps", "milestones": (1,), "decay": 0.5},
    "both": {"schedule": "steps", "milestones": (2,), "warmup_epochs": 1},
}


def mlp(registry: Registry, **recipe: Any) -> Task:
    options = {"batch_size": 16, "max_epochs": 3, "learning_rate": 0.02, **recipe}
    return small_digits(registry, "mlp_bn", options, train_size=66)


@dataclass(kw_only=True)
class SlowHead(Method):
    """Trains the head with a tenth of the rate, less momentum and more weight decay."""

    capturable: ClassVar[bool] = True

    def start(self, learner: Learner) -> None:
        body, head = learner.optimizer.param_groups[0], set(learner.head.parameters())
        body["params"] = [parameter for parameter in body["params"] if parameter not in head]
        group = {"params": list(head), "lr": 0.1 * float(body["lr"]), "weight_decay": 0.01}
        learner.optimizer.add_param_group(group)
        if "momentum" in body:
            learner.optimizer.param_groups[1]["momentum"] = 0.5


@pytest.mark.parametrize(
    "optimizer", ["sgd", *(pytest.param(o, marks=pytest.mark.heavy) for o in ("sam", "adamw", "muon"))]
)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("device", "policy"), [(Cpu, "keep"), (FusedCpu, "clear")])
def test_each_group_keeps_its_own_base_rate(
    registry: Registry, schedule: str, optimizer: str, device: type[Cpu], policy: Any
) -> None:
    task, rates = mlp(registry, optimizer=optimizer, **SCHEDULES[schedule]), list[list[float]]()

    class Records(SlowHead):
        def before_stage(self, learner: Learner) -> None:
            learner.optimizer.param_groups[1]["lr"] *= 0.5

        def after_step(self, learner: Learner) -> None:
            rates.append([float(group["lr"]) for group in learner.optimizer.param_groups])

    results = trace_run(task, Records(optimizer_state=policy), device=device()).results
    expected = [
        (0.1 * 0.5**result.index, optimizers.learning_rate(task.recipe, step // per_epoch, step, per_epoch))
        for result in results
        for per_epoch in [result.cost.steps // result.epochs]
        for step in range(result.cost.steps)
    ]
    assert len({rate for _, rate in expected}) > 1 or schedule == "constant"
    assert [body for body, _ in rates] == pytest.approx([rate for _, rate in expected])
    assert [head for _, head in rates] == pytest.approx([share * rate for share, rate in expected])


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("sam", marks=pytest.mark.heavy)])
def test_captured_steps_read_the_rate_of_every_group(registry: Registry, optimizer: str) -> None:
    task = mlp(registry, optimizer=optimizer, **SCHEDULES["both"])
    laws.captured_steps_equal_eager_steps(task, SlowHead)
    assert not equal_weights(trace_run(task, SlowHead()).weights, trace_run(task, Method()).weights)


@dataclass(kw_only=True)
class Grows(Method):
    """Adds four units to the hidden layers, and trains them with a fresh optimizer."""

    def before_stage(self, learner: Learner) -> None:
        parts: Any = learner.model
        for layer, norm, following in ((parts[1], parts[2], parts[4]), (parts[4], parts[5], parts[7])):
            for module, name, dim in (
                *((layer, name, 0) for name in ("weight", "bias")),
                *((norm, name, 0) for name in ("weight", "bias")),
                (following, "weight", 1),
            ):
                old = getattr(module, name)
                new = 0.1 * torch.ones_like(old.narrow(dim, 0, 4))
                setattr(module, name, nn.Parameter(torch.cat([old, new], dim)))
            norm.running_mean = torch.cat([norm.running_mean, torch.zeros(4)])
            norm.running_var = torch.cat([norm.running_var, torch.ones(4)])
            layer.out_features += 4
            norm.num_features += 4
            following.in_features += 4
        learner.reset_optimizer()


@dataclass(kw_only=True)
class ReplacesHead(Method):
    """Replaces the head by a new one, and its parameters in the optimizer."""

    def before_stage(self, learner: Learner) -> None:
        learner.model[7] = nn.Linear(24, 10)  # type: ignore[operator]
        nn.init.constant_(learner.model[7].weight, 0.01)  # type: ignore[index]
        nn.init.zeros_(learner.model[7].bias)  # type: ignore[index]
        learner.reset_optimizer()


@dataclass(kw_only=True)
class ChangesOptions(Method):
    """Changes plain numbers in the model and in the optimizer."""

    def start(self, learner: Learner) -> None:
        learner.model[2].momentum = 0.3  # type: ignore[index]
        learner.optimizer.param_groups[0].update(weight_decay=0.1, momentum=0.5)

    def before_stage(self, learner: Learner) -> None:
        learner.optimizer.param_groups[0]["lr"] *= 0.5


@dataclass(kw_only=True)
class Freezes(Method):
    """Freezes the first layer after the first stage."""

    def before_stage(self, learner: Learner) -> None:
        learner.model[1].requires_grad_(False)  # type: ignore[index]


@pytest.mark.parametrize(
    "cls",
    [
        SlowHead,
        Grows,
        *(pytest.param(c, marks=pytest.mark.heavy) for c in (ReplacesHead, ChangesOptions, Freezes)),
    ],
)
@pytest.mark.parametrize(
    ("policy", "optimizer"),
    [
        ("keep", "sgd"),
        *(
            pytest.param(*pair, marks=pytest.mark.heavy)
            for pair in (("clear", "sgd"), ("clear", "sam"), ("keep", "adam"))
        ),
    ],
)
def test_a_resumed_run_has_the_bits_of_a_whole_one(
    registry: Registry, cls: type[Method], policy: Any, optimizer: str
) -> None:
    task = mlp(registry, optimizer=optimizer, max_epochs=2, **SCHEDULES["warm-up"])

    def make() -> Method:
        return cls(optimizer_state=policy)

    laws.interruption_changes_nothing(task, make)
    assert not equal_weights(trace_run(task, make()).weights, trace_run(task, Method()).weights)


class Tanh(Method):
    def start(self, learner: Learner) -> None:
        learner.model[3] = nn.Tanh()  # type: ignore[operator]


class Extra(Method):
    def start(self, learner: Learner) -> None:
        learner.model.extra = nn.Dropout()


class Unties(Method):
    def start(self, learner: Learner) -> None:
        learner.model[7].scale = nn.Parameter(torch.ones(()))  # type: ignore[index]
        learner.reset_optimizer()


class ModelHook(Method):
    def start(self, learner: Learner) -> None:
        learner.model[3].register_forward_hook(lambda *_: None)  # type: ignore[index]


class OptimizerHook(Method):
    def start(self, learner: Learner) -> None:
        learner.optimizer.register_step_post_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Tanh, "Tanh replaces ReLU by Tanh as '3' of the model, which no checkpoint would have"),
        (Extra, "Extra adds Dropout as 'extra' of the model"),
        (Unties, "Unties adds, removes or shares 7.scale of the model"),
        (ModelHook, "ModelHook registers or removes hooks of '3' of the model"),
        (OptimizerHook, "OptimizerHook registers hooks on the optimizer"),
    ],
)
def test_what_no_checkpoint_can_hold_is_refused_at_the_first_one(
    task: Task, registry: Registry, cls: type[Method], message: str
) -> None:
    task = mlp(registry)
    trace_run(task, cls())  # a run that is never interrupted needs no checkpoint
    with pytest.raises(RequestError, match=message):
        trace_interrupted_run(task, cls, every=2)


class OtherOptimizer(Method):
    def start(self, learner: Learner) -> None:
        learner.optimizer = torch.optim.RMSprop(learner.model.parameters())


class ForgetsParameters(Method):
    def before_stage(self, learner: Learner) -> None:
        learner.model[7] = nn.Linear(24, 10)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (OtherOptimizer, "OtherOptimizer replaces the optimizer by RMSprop: it must be the recipe's, SGD"),
        (ForgetsParameters, "ForgetsParameters leaves 7.weight, 7.bias of the model without an optimizer"),
    ],
)
def test_an_optimizer_that_does_not_fit_is_refused(
    registry: Registry, cls: type[Method], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        trace_run(mlp(registry), cls())


def test_a_stage_with_cleared_momentum_covers_a_replaced_layer(registry: Registry) -> None:
    trace = trace_run(mlp(registry), ForgetsParameters(optimizer_state="clear"))
    assert not torch.equal(trace.weights[-1]["7.bias"], trace.weights[-2]["7.bias"])


def test_a_model_that_counts_in_python_is_not_captured(registry: Registry) -> None:
    from support.zoo import zoo_task

    task, device = zoo_task(registry, "buffers"), CapturingCpu()
    replayed = trace_run(task, Method(), device=device)
    assert not device.capturer.num_replayed
    assert equal_weights(replayed.weights, trace_run(task, Method(), device=FusedCpu()).weights)

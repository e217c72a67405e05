"""What a learner offers a method: activations, counted work, numbers of its own, forgetting."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from support.tasks import captured_digits, small_digits
from torch import Tensor

from plastibench.api import Method, recycle_units, setting, watch_activations
from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.probes.weight_norm import WeightNorm
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.testing.trace_diff import assert_equal_runs
from plastibench.training.learner import Learner


@dataclass(kw_only=True)
class Watcher(Method):
    """Sum what every unit does, shrink the weights by it, and report it (arXiv 0000.00000)."""

    sums: list[Tensor] = field(default_factory=list, init=False)
    capturable: ClassVar[bool] = True

    def start(self, learner: Learner) -> None:
        learner.watch_activations()
        self.sums = [torch.zeros(len(units)) for units in learner.hidden_units()]

    def after_step(self, learner: Learner) -> None:
        assert learner.activations is not None
        for units, h, total in zip(learner.hidden_units(), learner.activations, self.sums, strict=True):
            total.add_(h.abs().mean((0, 2)))
            units.weight.mul_(1 - 1e-4 * total.mean())
        learner.log("activity", self.sums[0].mean(), "mean")
        learner.log("steps", torch.ones(()), "sum")
        learner.log("last_activity", self.sums[0][0])


@dataclass(kw_only=True)
class Products(Method):
    """Penalize W W^T in every step, multiply between stages, and pass the newest data (arXiv 0000.00000)."""

    strength: float = setting(1e-3, within=(0.0, None))
    capturable: ClassVar[bool] = True

    def before_stage(self, learner: Learner) -> None:
        with learner.counting():
            learner.head.weight.copy_((learner.head.weight @ learner.head.weight.t()) @ learner.head.weight)
        for x, _ in learner.stage.train.batches(50):
            learner.forward(learner.model, x)
        assert learner.model.training

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        weight: Tensor = learner.head.weight
        with learner.counting():
            return self.strength * (weight @ weight.t()).square().sum()

    def after_step(self, learner: Learner) -> None:
        with learner.counting():
            learner.head.weight.add_(torch.eye(10) @ learner.head.weight, alpha=1e-6)


@pytest.mark.parametrize("model", ["mlp_bn", pytest.param("small_resnet", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("cls", [Watcher, Products])
def test_the_laws_hold(registry: Registry, cls: type[Method], model: str) -> None:
    task = small_digits(registry, model, recipe={"max_epochs": 1})
    laws.interruption_changes_nothing(task, cls)
    laws.state_survives_checkpointing(task, cls)
    laws.evaluation_changes_nothing(task, cls)
    laws.probes_change_nothing(task, cls, {"weight_norm": WeightNorm()})
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)


@pytest.mark.heavy
@pytest.mark.parametrize("cls", [Watcher, Products])
def test_it_works_in_captured_steps(registry: Registry, cls: type[Method]) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry), cls)


def test_both_passes_of_a_step_are_counted(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"max_epochs": 1, "optimizer": "sam"})
    laws.counted_cost_equals_real_cost(task, Products, num_classes=10)


@dataclass(kw_only=True)
class Waits(Products):
    """Declares wrongly that its steps can be captured."""

    def after_step(self, learner: Learner) -> None:
        super().after_step(learner)
        assert learner.head.weight.sum().item() != 0


@pytest.mark.heavy
def test_the_work_of_a_step_whose_capture_fails_is_counted_once(registry: Registry) -> None:
    task, device = captured_digits(registry), CapturingCpu()
    failed, plain = trace_run(task, Waits(), device=device).rows(), trace_run(task, Products()).rows()
    assert device.capturer.failures
    for name in ("remedy_flops", "remedy_forwards", "elementwise_flops"):
        per_step = [[row[name] / row["steps"] for row in rows[:1]] for rows in (failed, plain)]
        assert per_step[0] == per_step[1], name


def test_products_are_counted_as_the_methods_own(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"max_epochs": 1})
    plain, own = (trace_run(task, method).results for method in (Method(), Products()))
    width, classes = 24, 10
    product = 2 * classes * classes * width
    for a, b in zip(plain, own, strict=True):
        assert a.cost.phases["train"].flops == b.cost.phases["train"].flops
        in_steps = b.cost.steps * 4 * product  # forward, backward to both factors, and after the step
        forwards = b.cost.remedy_forwards * 2 * (64 * 24 + 24 * 24 + 24 * 10)
        assert b.cost.phases["remedy"].flops == in_steps + (2 * product + forwards if b.index else 0)
        assert b.cost.remedy_forwards == (b.num_train if b.index else 0)


def learner_in_first_stage(task: Task, method: Method | None = None) -> Learner:
    learner = Learner(task, method or Method(), 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    return learner


def test_a_method_sees_the_activations_of_the_training_pass(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"max_epochs": 1, "batch_size": 32})
    found: list[Tensor] = []

    @dataclass(kw_only=True)
    class Sees(Watcher):
        def after_step(self, learner: Learner) -> None:
            found.extend(learner.activations or [])
            assert not any(module._forward_pre_hooks for module in learner.model.modules())

        def after_stage(self, learner: Learner) -> None:
            assert learner.activations is None
            learner.watch_activations(False)

    trace_run(task, Sees())
    learner = learner_in_first_stage(task)
    order = torch.randperm(len(learner.stage.train), generator=_order(learner.seed))
    x, _ = next(iter(learner.stage.train.batches(32, order)))
    first: list[Tensor] = []
    layers = dict(learner.model.named_modules())
    layers["3"].register_forward_hook(lambda _, __, out: first.append(out.detach()))
    learner.model(x)
    assert torch.equal(found[0], first[0][..., None])
    num_steps = math.ceil(len(learner.stage.train) / 32)
    assert len(found) == 2 * num_steps  # of the first stage alone: watching was switched off


def _order(seed: int) -> torch.Generator:
    from plastibench.seeding import generator

    return generator(seed, "order", 0)


def test_watching_adds_nothing_to_what_is_computed(registry: Registry) -> None:
    task = small_digits(registry, recipe={"max_epochs": 1})

    @dataclass(kw_only=True)
    class Idle(Method):
        def start(self, learner: Learner) -> None:
            learner.watch_activations()

    assert_equal_runs(trace_run(task, Method()), trace_run(task, Idle()), "watching")


def test_a_pass_that_fails_leaves_no_hook(registry: Registry) -> None:
    learner = learner_in_first_stage(small_digits(registry, "mlp_bn"))
    with pytest.raises(RuntimeError), watch_activations(learner.hidden_units()):
        learner.model(torch.zeros(2, 3))
    assert not any(module._forward_pre_hooks for module in learner.model.modules())


def test_a_counted_pass_is_watched_although_its_flops_are_traced_on_a_copy(registry: Registry) -> None:
    learner = learner_in_first_stage(small_digits(registry, "mlp_bn"))
    x, _ = next(learner.stage.train.batches(7))  # a size that no pass has had
    with watch_activations(learner.hidden_units()) as activations:
        learner.forward(learner.model, x)
    assert all(len(h) == 7 and h.device == x.device for h in activations)


def test_numbers_of_a_stage_are_reduced(registry: Registry) -> None:
    rows = trace_run(captured_digits(registry), Watcher()).rows()
    assert all(row["log.steps"] == row["steps"] for row in rows)
    assert rows[0]["log.activity"] < rows[0]["log.last_activity"] * 10


@pytest.mark.parametrize("convert", [float, torch.tensor], ids=["numbers", "tensors"])
@pytest.mark.parametrize(("reduction", "expected"), [("last", 4.0), ("sum", 7.0), ("mean", 3.5)])
def test_a_reduction_is_what_its_name_says(
    registry: Registry, convert: Any, reduction: Literal["last", "sum", "mean"], expected: float
) -> None:
    learner = learner_in_first_stage(small_digits(registry, "mlp_bn"))
    for value in (3.0, 4.0):
        learner.log("x", convert(value), reduction)
    assert learner.logged() == {"log.x": expected}
    learner.begin_stage(learner.stage)
    assert learner.logged() == {}


def test_a_tensor_that_is_not_finite_is_not_measured(registry: Registry) -> None:
    learner = learner_in_first_stage(small_digits(registry, "mlp_bn"))
    learner.log("ratio", torch.tensor(math.nan))
    assert learner.logged() == {"log.ratio": None}
    learner.log("ratio", torch.tensor(2.0))
    assert learner.logged() == {"log.ratio": 2.0}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("units recycled", 1), "takes no name 'units recycled': use small letters, 0 to 9 and underscores"),
        (("Units", 1), "takes no name 'Units'"),
        (("units", "many"), "takes a number for units, not a str"),
        (("units", None), "takes a number for units, not a NoneType"),
        (("units", math.inf), "takes a finite number for units, not inf"),
        (("units", torch.ones(3)), r"takes one number for units, not a tensor of shape \(3,\)"),
        (("units", 1, "total"), "no reduction 'total': it can be last, sum, mean"),
        (("known", 1, "mean"), "reduces known by mean, but before in this stage by sum"),
    ],
)
def test_a_bad_report_is_an_error(registry: Registry, arguments: tuple[Any, ...], error: str) -> None:
    learner = learner_in_first_stage(small_digits(registry, "mlp_bn"))
    learner.log("known", 1, "sum")
    with pytest.raises(RequestError, match=error):
        learner.log(*arguments)


def trained(task: Task) -> Learner:
    learner = learner_in_first_stage(task)
    for x, y in learner.stage.train.batches(16):
        learner.optimizer.zero_grad()
        learner.loss(learner.model(x), y).backward()
        learner.optimizer.step()
    return learner


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("model", ["mlp_bn", "small_resnet"])
def test_recycled_units_are_as_new_and_the_others_as_before(
    registry: Registry, model: str, optimizer: str
) -> None:
    learner = trained(small_digits(registry, model, recipe={"optimizer": optimizer}))
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    layers = learner.hidden_units()
    masks = [torch.arange(len(units)) < 2 for units in layers]
    fresh = [units.weight.detach() for units in learner.hidden_units(learner.fresh_model())]
    with torch.no_grad():
        recycle_units(learner, layers, masks, fresh)
    expected = {name: value.clone() for name, value in before.items()}
    modules = {module: name for name, module in learner.model.named_modules()}
    for units, weight in zip(layers, fresh, strict=True):
        for unit in range(2):
            expected[f"{units.name}.weight"][unit] = weight[unit]
            if f"{units.name}.bias" in expected:
                expected[f"{units.name}.bias"][unit] = 0
            norm = modules[units.norms[0].module]
            for name, value in {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}.items():
                expected[f"{norm}.{name}"][unit] = value
    for units in layers:
        expected[modules[units.outgoing[0].module] + ".weight"][:, :2] = 0
    found = learner.model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    weight = layers[0].weight
    state = learner.optimizer.state[weight]
    for value in (state[name] for name in state if name != "step"):
        assert value[:2].abs().max() == 0
        assert value[2:].abs().max() > 0
    outgoing = learner.optimizer.state[layers[0].outgoing[0].module.weight]
    for value in (outgoing[name] for name in outgoing if name != "step"):
        assert value[:, :2].abs().max() == 0
        assert value[:, 2:].abs().max() > 0


def test_recycling_leaves_frozen_parameters(registry: Registry) -> None:
    learner = trained(small_digits(registry, "mlp_bn"))
    bias = learner.model.get_parameter("1.bias").requires_grad_(False)
    before, layers = bias.clone(), learner.hidden_units()
    fresh = [units.weight.detach() for units in learner.hidden_units(learner.fresh_model())]
    with torch.no_grad():
        recycle_units(learner, layers, [torch.ones(24, dtype=torch.bool)] * 2, fresh)
    assert torch.equal(bias, before)
    assert torch.equal(layers[0].weight, fresh[0])


@dataclass(kw_only=True)
class Adds(Method):
    """Add something to the loss (arXiv 0000.00000)."""

    what: ClassVar[object] = None

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        return self.what  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "returned"),
    [
        (None, "nothing"),
        (torch.ones(3), r"a tensor of shape \(3,\)"),
        ("0.1", "a str"),
        ([0.1], "a list"),
    ],
)
def test_a_loss_term_that_cannot_be_added_is_named(what: object, returned: str) -> None:
    method = type("Adds", (Adds,), {"what": what})()
    with pytest.raises(RequestError, match=rf"loss_term of Adds returns {returned}: return a number"):
        trace_run(small_digits(Registry()), method)


@pytest.mark.parametrize("what", [0, 0.0, torch.zeros(()), torch.zeros(1), np.float32(0)])
def test_a_loss_term_may_be_any_number(what: object) -> None:
    method = type("Adds", (Adds,), {"what": what})()
    assert_equal_runs(
        trace_run(small_digits(Registry()), Method()), trace_run(small_digits(Registry()), method), "adding 0"
    )

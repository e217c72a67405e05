"""Each remedy against its formula, one number at a time, on models that are not plain."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.zoo import PLAIN, WIDTH, zoo_task
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.layers import untouched_parameters
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training import protocol, state
from plastibench.training.learner import Learner

KERNELS = {
    "conv3d": ["1.weight"],
    "transposed": ["0.weight"],
    "two_parts": ["left.0.weight", "right.0.weight"],
}
"""Weights with one vector for each pair of channels; other matrices have one for each row."""
OUTSIDE = {
    "attention": ["norm.weight", "norm.bias", "token", "positions"],
    "conv3d": ["2.weight", "2.bias"],
    "transposed": ["1.weight", "1.bias"],
}
"""Trained parameters of normalization, and those in no layer that remedies know."""
HEADS = {"conv3d": "5", "transposed": "5"}


def at_second_stage(registry: Registry, model: str, name: str, **settings: Any) -> tuple[Any, Learner]:
    task, method = zoo_task(registry, model), registry.load("method", name)(**settings)
    learner = Learner(task, method, 0, get_device("cpu"))
    stages = list(task.stream(0, data_context()))
    learner.begin_stage(stages[0])
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        method.start(learner)
        for parameter in learner.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    learner.begin_stage(stages[1])
    return method, learner


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def act(method: Method, learner: Learner) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    before = values(learner.model)
    with torch.no_grad():
        method.before_stage(learner)
    return before, values(learner.model)


def is_trained(learner: Learner, name: str) -> bool:
    return learner.model.get_parameter(name).requires_grad


@pytest.mark.parametrize("scope", ["all", "layers", "module_weights"])
@pytest.mark.parametrize("model", PLAIN)
def test_shrink_perturb_shrinks_each_weight_once(registry: Registry, model: str, scope: str) -> None:
    settings = {"shrink": 0.5, "noise": 0.0, "source": "gaussian", "scope": scope}
    method, learner = at_second_stage(registry, model, "shrink_perturb", **settings)
    before, after = act(method, learner)
    for name, value in before.items():
        outside = {
            "all": False,
            "layers": name in OUTSIDE.get(model, []),
            "module_weights": "weight" not in name,
        }
        factor = 0.5 if is_trained(learner, name) and not outside[scope] else 1.0
        assert torch.equal(after[name], factor * value), name


@pytest.mark.parametrize("model", PLAIN)
def test_dash_shrinks_each_vector_by_its_cosine(registry: Registry, model: str) -> None:
    method, learner = at_second_stage(registry, model, "dash", floor=0.2, momentum=1.0)
    twin, data = copy.deepcopy(learner.model).eval(), learner.stage.train
    x, y = next(iter(data[len(data) - learner.stage.num_new :].batches(1000)))
    nn.functional.cross_entropy(twin(x), y).backward()  # with momentum 1 the newest chunk alone counts
    before, after = act(method, learner)
    for name, value in before.items():
        gradient = twin.get_parameter(name).grad
        if not is_trained(learner, name) or name in OUTSIDE.get(model, []):
            assert torch.equal(after[name], value), name
            continue
        assert gradient is not None
        for index in _vectors(value, name in KERNELS.get(model, [])):
            w, g = value[index].flatten().tolist(), gradient[index].flatten().tolist()
            norms = max(math.hypot(*w), 1e-8) * max(math.hypot(*g), 1e-8)
            cosine = -sum(a * b for a, b in zip(w, g, strict=True)) / norms
            expected = max(0.2, min(1.0, cosine)) * value[index]
            torch.testing.assert_close(after[name][index], expected, rtol=1e-4, atol=1e-6)


def _vectors(value: Tensor, is_kernel: bool) -> list[tuple[int, ...]]:
    """Return the index of each vector of a parameter."""
    if value.dim() == 1:
        return [()]
    rows = range(value.shape[0])
    return [(i, j) for i in rows for j in range(value.shape[1])] if is_kernel else [(i,) for i in rows]


@pytest.mark.parametrize("model", PLAIN)
def test_dash_without_momentum_shrinks_each_weight_once_by_the_floor(registry: Registry, model: str) -> None:
    method, learner = at_second_stage(registry, model, "dash", floor=0.3, momentum=0.0)
    before, after = act(method, learner)
    for name, value in before.items():
        touched = is_trained(learner, name) and name not in OUTSIDE.get(model, [])
        torch.testing.assert_close(after[name], 0.3 * value if touched else value)


@pytest.mark.parametrize("model", PLAIN)
def test_l2_init_counts_each_trained_parameter_once(registry: Registry, model: str) -> None:
    method, learner = at_second_stage(registry, model, "l2_init", strength=0.5)
    first = values(learner.initial_model())
    distances = [
        float((value - first[name]).square().sum())
        for name, value in values(learner.model).items()
        if is_trained(learner, name)
    ]
    term = float(method.loss_term(learner, torch.zeros(1), torch.zeros(1)).detach())
    assert term == pytest.approx(0.5 * sum(distances), rel=1e-4)


@pytest.mark.parametrize("initializer", ["model", "torch"])
@pytest.mark.parametrize("model", PLAIN)
def test_head_reset_changes_the_head_alone(registry: Registry, model: str, initializer: str) -> None:
    method, learner = at_second_stage(registry, model, "head_reset", initializer=initializer)
    before, after = act(method, learner)
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    head = HEADS.get(model, "head")
    assert changed == {name for name in before if name.rpartition(".")[0] == head}
    assert learner.head is learner.model.get_submodule(head)


class Scaled(nn.Sequential):
    """A model that changes the output of its last layer."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)  # type: ignore[no-any-return, no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Unnamed(Architecture):
    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        return Scaled()


@dataclass(frozen=True, kw_only=True)
class Named(Unnamed):
    head = "1"


def test_a_head_that_is_not_known_is_to_be_named(registry: Registry) -> None:
    cls, task = registry.load("method", "head_reset"), zoo_task(registry, "tied")
    unnamed, named = replace(task, architecture=Unnamed()), replace(task, architecture=Named())
    with pytest.raises(
        RequestError, match="the head is not known, because the output of the model is not that"
    ):
        next(protocol.run(unnamed, cls(), 0, data_context()))
    trace_run(unnamed, Method())  # which needs no head
    reset, warm = (trace_run(named, method).weights[1] for method in (cls(), Method()))
    assert not torch.equal(reset["1.weight"], warm["1.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adamw", "muon"])
@pytest.mark.parametrize("model", ["frozen", "tied"])
def test_training_moves_a_shared_weight_once_and_a_frozen_one_never(
    registry: Registry, model: str, optimizer: str
) -> None:
    recipe = {"optimizer": optimizer, "weight_decay": 0.1, "max_steps": 1, "target_accuracy": None}
    trained = trace_run(zoo_task(registry, model, recipe), Method()).weights[0]
    learner = Learner(zoo_task(registry, model, recipe), Method(), 0, get_device("cpu"))
    start = learner.model.state_dict()
    for name, parameter in learner.model.named_parameters():
        assert torch.equal(trained[name], start[name]) != parameter.requires_grad, name
    if model == "tied":
        assert torch.equal(trained["a.weight"], trained["b.weight"])
        assert trained["a.weight"].shape == (WIDTH, WIDTH)


@pytest.mark.parametrize("model", PLAIN)
def test_probes_count_each_trained_parameter_once(registry: Registry, model: str) -> None:
    _, learner = at_second_stage(registry, model, "warm")
    first, now = values(learner.initial_model()), values(learner.model)
    trained = [name for name in now if is_trained(learner, name)]
    norm = math.sqrt(sum(float(now[name].square().sum()) for name in trained))
    moved = math.sqrt(sum(float((now[name] - first[name]).square().sum()) for name in trained))
    measured = {
        name: registry.load("probe", name)().measure(learner)
        for name in ("weight_norm", "distance_from_init")
    }
    assert measured["weight_norm"]["l2"] == pytest.approx(norm, rel=1e-5)
    assert measured["distance_from_init"]["l2"] == pytest.approx(moved, rel=1e-4)


def test_a_resumed_run_knows_what_its_remedy_leaves_untouched(registry: Registry) -> None:
    method, learner = at_second_stage(registry, "attention", "dash")
    act(method, learner)
    saved, resumed = state.state_dict(learner, method), Learner(learner.task, method, 0, get_device("cpu"))
    resumed.begin_stage(learner.stage)
    assert untouched_parameters(resumed.model) == []
    state.load_state_dict(saved, resumed, method)
    assert untouched_parameters(resumed.model) == ["token", "positions"]

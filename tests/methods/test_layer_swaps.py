"""Remedies of architecture: each layer against its formula, one number at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from support.zoo import zoo_task
from torch import nn

from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.method_changes import method_changes
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training.flops import pass_flops

EPSILON = 1e-5
NAMES = ("layer_norm", "crelu", "deep_fourier", "dropout_interval")


def layer(registry: Registry, name: str, kind: str, *width: int, **settings: Any) -> nn.Module:
    """Return one of the layers that a remedy puts into a model."""
    factory: Any = registry.load("method", name)(**settings).factories()[kind]
    module: nn.Module = factory(*width)
    return module


def normalized(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return [(value - mean) / math.sqrt(variance + EPSILON) for value in values]


@pytest.mark.parametrize(("over", "sets"), [("example", 1), ("groups", 2), ("channels", 6)])
def test_layer_norm_is_its_equation(registry: Registry, over: str, sets: int) -> None:
    settings = {"groups": 2} if over == "groups" else {}
    norm: Any = layer(registry, "layer_norm", "norm", 4, over=over, **settings)
    x = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3]))
    found = norm(x)
    for example in range(3):
        # The values that are normalized together: of one example, one group, or one pixel.
        together = x[example].flatten(1).T if over == "channels" else x[example].reshape(sets, -1)
        plain = torch.tensor([normalized(values) for values in together.tolist()])
        plain = plain.T.reshape(4, 2, 3) if over == "channels" else plain.reshape(4, 2, 3)
        expected = plain * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(found[example], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("over", ["example", "channels", "groups"])
@pytest.mark.parametrize("model", ["small_resnet", "mlp_bn"])
def test_layer_norm_leaves_no_batch_norm_and_no_dependence_on_the_batch(
    registry: Registry, model: str, over: str
) -> None:
    task = small_digits(registry, model)
    usual, other = task.model(), registry.load("method", "layer_norm")(over=over).build(task)
    norms = [m for m in usual.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    swapped = [m for m in other.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)]
    assert len(swapped) == len(norms)
    assert not list(other.buffers())
    assert sum(p.numel() for p in usual.parameters()) == sum(p.numel() for p in other.parameters())
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(other(x)[:2], other(x[:2]), rtol=1e-4, atol=1e-5)


def test_crelu_is_its_equation(registry: Registry) -> None:
    crelu, z = layer(registry, "crelu", "activation"), torch.randn(2, 3, 4)
    h = crelu(z)
    assert h.shape == (2, 6, 4)
    for index in [(i, j, k) for i in range(2) for j in range(3) for k in range(4)]:
        i, j, k = index
        value = float(z[index])
        assert [float(h[index]), float(h[i, j + 3, k])] == [max(value, 0.0), max(-value, 0.0)]


def test_no_unit_of_crelu_dies(registry: Registry) -> None:
    z = -torch.rand(8, 5) - 0.1  # on which every unit of ReLU is dead
    gradients = [
        torch.autograd.functional.jacobian(activation, z[:1])
        for activation in (layer(registry, "crelu", "activation"), nn.ReLU())
    ]
    assert [float(g.abs().sum()) for g in gradients] == [5.0, 0.0]


def test_deep_fourier_features_are_sines_and_cosines(registry: Registry) -> None:
    fourier, z = layer(registry, "deep_fourier", "activation"), torch.randn(2, 3)
    h = fourier(z)
    expected = [[math.sin(v) for v in row] + [math.cos(v) for v in row] for row in z.tolist()]
    torch.testing.assert_close(h, torch.tensor(expected))


def test_each_fourier_unit_has_a_gradient(registry: Registry) -> None:
    fourier = layer(registry, "deep_fourier", "activation")
    for value in torch.linspace(-10, 10, 101):
        slopes = torch.autograd.functional.jacobian(fourier, value.reshape(1, 1)).flatten()
        assert float(slopes.abs().max()) >= math.sqrt(0.5) - 1e-6


@pytest.mark.parametrize("name", ["crelu", "deep_fourier"])
@pytest.mark.parametrize(("model", "width"), [("mlp_bn", 256), ("small_resnet", 64)])
def test_wide_activations_keep_the_weights_of_hidden_layers(
    registry: Registry, model: str, width: int, name: str
) -> None:
    architecture = registry.load("model", model)(width=width)
    task, cls = (
        replace(small_digits(registry, model), architecture=architecture),
        registry.load("method", name),
    )

    def hidden(built: nn.Module) -> int:
        layers = [m for m in built.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        return sum(m.weight.numel() for m in layers[1:-1] if m.weight.shape[2:] != (1, 1))

    usual, equal, wide = (
        hidden(one) for one in (task.model(), cls().build(task), cls(width=None).build(task))
    )
    assert equal == pytest.approx(usual, rel=0.02)
    assert wide == 2 * usual


@pytest.mark.parametrize("name", ["crelu", "deep_fourier"])
@pytest.mark.parametrize(("model", "share", "wide_share"), [("mlp_bn", 0.81, 1.34), ("resnet18", 1.03, 2.08)])
@pytest.mark.heavy
def test_wide_activations_cost_what_their_docstrings_say(
    registry: Registry, model: str, share: float, wide_share: float, name: str
) -> None:
    cls, architecture = registry.load("method", name), registry.load("model", model)()
    task_class = registry.load("task", "cifar10")
    recipe = next(iter(task_class.recipes(architecture).values()))
    task = task_class(recipe=recipe, architecture=architecture)

    def flops(built: nn.Module) -> int:
        counted = pass_flops(built, (32, *task.input_shape()), backward=True)
        assert counted is not None
        return counted.matrix + counted.elementwise

    usual = flops(task.model())
    assert flops(cls().build(task)) / usual == pytest.approx(share, abs=0.01)
    assert flops(cls(width=None).build(task)) / usual == pytest.approx(wide_share, abs=0.01)


def test_wide_activations_are_refused_if_the_model_has_no_width(registry: Registry) -> None:
    cls = registry.load("method", "crelu")
    task = registry.load("task", "cifar10")
    vgg = registry.load("model", "vgg16_bn")()
    images = task(recipe=task.recipes(vgg)["standard"], architecture=vgg)
    assert "no setting `width`" in str(cls().unsupported(images))
    assert cls(width=None).unsupported(images) is None


def interval(registry: Registry, p: float) -> nn.Module:
    return layer(registry, "dropout_interval", "activation", p=p)


def test_dropout_interval_passes_on_one_part_at_random(registry: Registry) -> None:
    aid, z = interval(registry, 0.7), torch.randn(100, 100)
    torch.manual_seed(0)
    h = aid(z)
    positive = z > 0
    for share, values in ((0.7, h[positive] / z[positive]), (0.3, h[~positive] / z[~positive])):
        assert set(values.tolist()) == {0.0, 1.0}
        assert float(values.mean()) == pytest.approx(share, abs=0.03)


def test_dropout_interval_evaluates_its_mean(registry: Registry) -> None:
    aid, z = interval(registry, 0.7), torch.tensor([[-2.0, -0.5, 0.0, 1.0, 3.0]])
    torch.manual_seed(0)
    mean = torch.stack([aid(z) for _ in range(4000)]).mean(0)
    found = aid.eval()(z)
    torch.testing.assert_close(found, torch.tensor([[-0.6, -0.15, 0.0, 0.7, 2.1]]))
    torch.testing.assert_close(mean, found, rtol=0.1, atol=0.05)
    assert torch.equal(aid(z), found)  # nothing is drawn


def test_dropout_interval_with_probability_one_would_be_relu(registry: Registry) -> None:
    cls, z = registry.load("method", "dropout_interval"), torch.randn(50, 4)
    one = type(interval(registry, 0.9))(1.0)
    assert torch.equal(one(z), z.relu())
    assert torch.equal(one.eval()(z), z.relu())
    assert cls(p=1.0).factories() == {}


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_restart_is_the_cold_start_of_the_same_model(registry: Registry, task: Task, name: str) -> None:
    cls, cold = registry.load("method", name), registry.load("method", "cold")
    same_model = type("Cold", (cold,), {"build": lambda _, task: cls().build(task)})
    restarted = trace_run(task, cls(restart=True))
    assert equal_weights(restarted.weights, trace_run(task, same_model()).weights)
    continued = trace_run(task, cls())
    assert equal_weights(continued.weights[:1], restarted.weights[:1])
    assert not equal_weights(continued.weights, restarted.weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_such_layers_is_refused(registry: Registry, name: str) -> None:
    reason = registry.load("method", name)().unsupported(zoo_task(registry, "two_parts"))
    assert reason is not None
    assert Method().unsupported(zoo_task(registry, "two_parts")) is None


@dataclass(frozen=True, kw_only=True)
class Measured(Architecture):
    """A model whose construction reads a number that a tensor holds, which needs data."""

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        width = int(torch.full((), 6.0).item())
        layers = [nn.Flatten(), nn.Linear(64, width), factories.norm(width), factories.activation()]
        return nn.Sequential(*layers, nn.Linear(width, num_classes))


def test_a_model_that_needs_data_to_be_built_is_trained_all_the_same(registry: Registry) -> None:
    task = replace(small_digits(registry, "mlp_bn"), architecture=Measured())
    method = registry.load("method", "layer_norm")()
    assert method.unsupported(task) is None
    assert method_changes(task, method) == {}
    trace_run(task, method)

"""Weights that are cast together give the bits of weights that autocast casts one by one."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from support.operations import operations
from support.tasks import captured_digits, small_digits
from torch import Tensor, nn

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training.cast_weights import weights_cast_together


class Together(FusedCpu):
    """A device that casts weights together."""

    casts_together: ClassVar[bool] = True


class CapturesTogether(CapturingCpu):
    """A device that casts weights together in captured steps."""

    casts_together: ClassVar[bool] = True


class Standardized(nn.Linear):
    """A layer that computes in float32 with its weights."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class Mixed(nn.Module):
    """Layers that share a weight, that are frozen, not called, or compute with their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.frozen, self.unused, self.own = nn.Linear(8, 8), nn.Linear(8, 8), Standardized(8, 4)
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu().mean((2, 3))
        for layer in (self.first, self.frozen, self.second):
            x = layer(x).relu()
        return self.own(x)  # type: ignore[no-any-return]


def gradients(model: nn.Module, x: Tensor, *, together: bool) -> dict[str, Tensor | None]:
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if together:
            with weights_cast_together(model, torch.bfloat16):
                y = model(x)
        else:
            y = model(x)
    y.float().square().sum().backward()
    return {"y": y.detach(), **{name: weight.grad for name, weight in model.named_parameters()}}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_have_the_same_bits(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = Mixed().to(memory_format=memory_format)
    x = torch.randn(4, 3, 6, 6).contiguous(memory_format=memory_format)
    found, expected = (gradients(model, x, together=together) for together in (True, False))
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert torch.equal(found[name], value), name  # type: ignore[arg-type]
            assert found[name].stride() == value.stride(), name  # type: ignore[union-attr]


def test_each_layer_has_its_own_weights_after_the_pass_also_if_it_fails() -> None:
    model = Mixed()
    before = dict(model.named_parameters())
    with weights_cast_together(model, torch.bfloat16):
        assert model.first.weight is model.second.weight
        assert model.first.weight.dtype == torch.bfloat16
        assert model.own.weight.dtype == model.frozen.weight.dtype == torch.float32
    with pytest.raises(RuntimeError), weights_cast_together(model, torch.bfloat16):
        model(torch.zeros(1))
    assert all(before[name] is weight for name, weight in model.named_parameters())


def test_casts_are_two_operations() -> None:
    model, x = Mixed(), torch.randn(4, 3, 6, 6)
    one_by_one, at_once = (
        operations(lambda together=together: gradients(model, x, together=together))  # type: ignore[misc]
        for together in (False, True)
    )
    assert at_once["_foreach_copy_"] == 2
    assert one_by_one["_to_copy"] - at_once["_to_copy"] == 10, "five tensors there and back"
    assert at_once["clone"] == one_by_one["clone"]


@pytest.mark.parametrize("model", ["small_resnet", "vit"])
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("sam", marks=pytest.mark.heavy)])
def test_runs_have_the_same_bits(registry: Registry, model: str, optimizer: str) -> None:
    recipe = {"precision": "bf16", "max_steps": 3, "optimizer": optimizer}
    task = small_digits(registry, model, recipe, max_stages=1)
    together, apart = (trace_run(task, Method(), device=device) for device in (Together(), FusedCpu()))
    assert equal_weights(together.weights, apart.weights)


@pytest.mark.heavy
def test_casts_are_captured_with_the_step(registry: Registry) -> None:
    task, device = captured_digits(registry, precision="bf16"), CapturesTogether()
    replayed, apart = trace_run(task, Method(), device=device), trace_run(task, Method(), device=FusedCpu())
    assert device.capturer.num_replayed > 10
    assert equal_weights(replayed.weights, apart.weights)

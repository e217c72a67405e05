"""Costs: FLOPs against counts by hand, energy counters, and what could not be measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.tasks import small_digits
from torch import nn

from plastibench.devices import get_device
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.models.layers.transformer import Attention
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.system import energy
from plastibench.training import flops
from plastibench.training.cost import COST_COLUMNS, PHASES, Cost

SHAPES = {"mlp_bn": (1, 8, 8)}


def by_hand(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the FLOPs of one image, forward and backward: outputs times inputs of each layer."""
    forward, back, first = 0, 0, True

    def hook(module: nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> None:
        nonlocal forward, back, first
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            pixels = out[0, 0].numel()
            # On 2x2 pixels or fewer a 3x3 kernel always covers all; its padding is not multiplied.
            small = isinstance(module, Conv3x3) and module.stride == (1, 1) and pixels <= 4
            one = 2 * out[0].numel() * module.in_channels * (pixels if small else height * width)
        elif isinstance(module, nn.Linear):
            one = 2 * module.in_features * out.numel()  # for every token
        elif isinstance(module, Attention):  # scores, and sums of values
            one = 2 * 2 * inputs[0].shape[1] ** 2 * module.query.out_features
        else:
            return
        forward += one
        # Images need no gradient, so the first layer computes that of its weights forward_only.
        back += one if first else 2 * one
        first = False

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    model.eval()(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return forward, back


@pytest.mark.heavy
@pytest.mark.parametrize("name", Registry().names("model"))
def test_flops_of_a_pass_are_those_counted_by_hand(name: str, registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn")
    architecture = registry.load("model", name)()
    shape = SHAPES.get(name, (3, 32, 32))
    kind = registry.load("task", "cifar10")
    if name not in SHAPES:
        task = kind(recipe=kind.recipes(architecture)["standard"], architecture=architecture)
    model = task.model().train()
    forward, back = by_hand(model, shape)
    model.train()
    for examples in (2, 7):
        both = flops.pass_flops(model, (examples, *shape), backward=True)
        forward_only = flops.pass_flops(model, (examples, *shape), backward=False)
        assert both is not None
        assert forward_only is not None
        assert (forward_only.matrix, both.matrix) == (examples * forward, examples * (forward + back))
        assert both.elementwise > forward_only.elementwise > 0


def test_tracing_changes_neither_model_nor_random_state(registry: Registry) -> None:
    model = small_digits(registry).model().train()
    before, stream = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert flops.pass_flops(model, (3, 1, 8, 8), backward=True) is not None
    assert flops.update_flops(model, Recipe(optimizer="adam")) is not None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training


def test_the_flops_of_a_model_that_cannot_be_traced_are_none() -> None:
    class Untraceable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, : int(x.sum().item() > 0) + 1]

    assert flops.pass_flops(Untraceable(), (2, 1, 4, 4), backward=False) is None
    cost = Cost()
    cost.add_flops("train", flops.Flops(10, 1))
    assert (cost.phases["train"].flops, cost.elementwise_flops) == (10, 1)
    cost.add_flops("train", None)
    assert (cost.phases["train"].flops, cost.elementwise_flops) == (None, None)


def test_energy_is_read_from_the_processors_counters_or_is_none(tmp_path: Path) -> None:
    assert energy.read_rapl(tmp_path) is None
    for zone, joules in (("intel-rapl:0", 5), ("intel-rapl:1", 7), ("intel-rapl:0:0", 99)):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(f"{joules}000000\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("10000000\n")
    before = energy.read_rapl(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("6500000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000\n")  # wrapped around at 10 J
    assert energy.joules_between(before, energy.read_rapl(tmp_path)) == pytest.approx(1.5 + 4)
    assert energy.joules_between(None, before) is None


def test_each_phase_has_its_own_seconds() -> None:
    cost = Cost()
    with cost.measure("remedy", get_device("cpu")):
        pass
    assert cost.phases["remedy"].seconds > 0
    assert cost.phases["train"].seconds == cost.phases["evaluation"].seconds == 0
    assert cost.peak_memory is None
    assert Cost.from_dict(cost.as_dict()) == cost


def test_every_cost_of_a_row_is_described_once() -> None:
    assert list(Cost().as_dict()) == list(COST_COLUMNS)
    assert {column.phase for column in COST_COLUMNS.values()} == {None, *PHASES}

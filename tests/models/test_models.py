"""Architectures: sizes, shapes, initialization."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.plugins.architecture import LayerFactories
from plastibench.plugins.layers import parameters_in, weight_layers
from plastibench.plugins.registry import Registry
from plastibench.training.head import find_head

PARTS = LayerFactories(activation=nn.ReLU, norm=nn.BatchNorm2d)
FLAT = LayerFactories(activation=nn.ReLU, norm=nn.BatchNorm1d)
SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 4},
    "resnet18_sota": {"width": 4},
    "small_resnet": {"width": 4},
    "vgg16_bn": {"hidden": 8},
    "mlp_bn": {"width": 8},
}


def build(registry: Registry, name: str, classes: int = 10, **settings: Any) -> nn.Module:
    architecture = registry.load("model", name)(**settings)
    parts = PARTS if architecture.spatial_norm else FLAT
    model: nn.Module = architecture.build((3, 32, 32), classes, parts)
    return model


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_model_has_a_small_version_here(registry: Registry) -> None:
    assert sorted(SMALL) == registry.names("model")


@pytest.mark.parametrize(
    ("name", "classes", "weights"),
    [
        ("resnet18", 10, 11_173_962),
        ("resnet18", 100, 11_220_132),
        ("resnet18", 200, 11_271_432),
        ("resnet18_sota", 10, 11_173_962),
        ("mlp_bn", 10, 4_210_698),
        ("small_resnet", 10, 78_042),
    ],
)
def test_the_number_of_parameters_is_that_of_the_reference(
    registry: Registry, name: str, classes: int, weights: int
) -> None:
    assert num_parameters(build(registry, name, classes)) == weights


def test_vgg_has_the_number_of_parameters_of_the_reference(registry: Registry) -> None:
    with torch.device("meta"):  # 134 million weights need no memory to be counted
        assert num_parameters(build(registry, "vgg16_bn")) == 134_309_962


@pytest.mark.parametrize("name", sorted(SMALL))
def test_models_return_one_logit_per_class(registry: Registry, name: str) -> None:
    architecture = registry.load("model", name)(**SMALL[name])
    for shape in [shape for shape in ((3, 32, 32), (1, 28, 28)) if architecture.unsupported(shape) is None]:
        model = architecture.build(shape, 7, PARTS if architecture.spatial_norm else FLAT)
        assert model(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_head_of_a_model_is_found_by_what_it_returns(registry: Registry, name: str) -> None:
    model = build(registry, name, **SMALL[name])
    head = model.get_submodule(find_head(model, (3, 32, 32)))
    assert head is weight_layers(model)[-1]
    assert head.out_features == 10


def test_images_that_are_too_small_for_a_model_are_an_error(registry: Registry) -> None:
    with pytest.raises(
        RequestError, match=r"VGG16BN cannot be trained on Digits: .* 32x32 or larger, not 8x8"
    ):
        small_digits(registry, model="vgg16_bn")


@pytest.mark.parametrize(("name", "pooled"), [("resnet18", 2), ("resnet18_sota", 4)])
def test_the_two_versions_of_resnet18_differ_in_the_pool(registry: Registry, name: str, pooled: int) -> None:
    model = build(registry, name, **SMALL[name])
    seen: list[torch.Size] = []
    blocks = [module for module in model.modules() if type(module).__name__ == "BasicBlock"]
    blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.randn(2, 3, 32, 32))
    assert seen[0][2:] == (pooled, pooled)


def test_convolutions_of_resnet18_are_initialized_by_fan_out(registry: Registry) -> None:
    torch.manual_seed(0)
    for name, by_fan_out in (("resnet18", True), ("resnet18_sota", False)):
        convolution = weight_layers(build(registry, name, width=32))[5]
        expected = math.sqrt(2 / (convolution.weight.shape[0] * 9))
        close = abs(float(convolution.weight.detach().std()) / expected - 1) < 0.05
        assert close == by_fan_out


def test_linear_layers_of_vgg_are_initialized_with_a_small_deviation(registry: Registry) -> None:
    torch.manual_seed(0)
    head = weight_layers(build(registry, "vgg16_bn", hidden=512))[-1]
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert head.bias is not None
    assert torch.count_nonzero(head.bias) == 0


class CReLU(nn.Module):
    """Doubles the channels, as an activation of a method may."""

    expansion = 2

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.relu(), (-x).relu()], dim=1)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_models_fit_an_activation_that_widens(registry: Registry, name: str) -> None:
    architecture = registry.load("model", name)(**SMALL[name])
    norm = nn.BatchNorm2d if architecture.spatial_norm else nn.BatchNorm1d
    model = architecture.build((3, 32, 32), 5, LayerFactories(activation=CReLU, norm=norm))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_scopes_select_parameters(registry: Registry) -> None:
    model = build(registry, "small_resnet", width=4)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    layers = weight_layers(model)
    assert isinstance(layers[-1], nn.Linear)
    assert len(parameters_in(model, "all")) == len(list(model.parameters()))
    assert len(parameters_in(model, "layers")) == len(layers) + 1  # only the head has a bias
    assert len(parameters_in(model, "module_weights")) == len(layers) + len(norms)

"""Architectures: sizes, shapes, initialization."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.models.layers.transformer import Attention, position_encoding
from plastibench.plugins.architecture import LayerFactories
from plastibench.plugins.layers import parameters_in, weight_layers
from plastibench.plugins.registry import Registry
from plastibench.training.head import find_head

PARTS = LayerFactories(activation=nn.ReLU, norm=nn.BatchNorm2d)
FLAT = LayerFactories(activation=nn.ReLU, norm=nn.BatchNorm1d)
SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 4},
    "resnet18_sota": {"width": 4},
    "resnet18_imagenet": {"width": 4},
    "small_resnet": {"width": 4},
    "vgg16_bn": {"hidden": 8},
    "mlp_bn": {"width": 8},
    "plain_cnn": {"width": 4, "hidden": 8},
    "vit": {"width": 10, "depth": 2, "head_width": 3, "hidden": 9},
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
        ("resnet18_imagenet", 1000, 11_689_512),
        ("mlp_bn", 10, 4_210_698),
        ("small_resnet", 10, 78_042),
        ("plain_cnn", 10, 178_250),
        ("plain_cnn", 2, 177_218),
        ("vit", 10, 137_802),
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


@pytest.mark.parametrize(
    ("name", "settings", "shape", "reason"),
    [
        ("small_resnet", {}, (5,), "it takes images, not rows of 5 numbers"),
        ("vgg16_bn", {}, (5,), "it takes images, not rows of 5 numbers"),
        ("vit", {}, (5,), "it takes images, not rows of 5 numbers"),
        ("mlp_bn", {}, (5,), None),
        ("vit", {}, (3, 30, 32), "images of 30x32 cannot be divided into patches of patch=4"),
        ("plain_cnn", {}, (3, 23, 32), "must be 24x24 or larger, not 23x32; padding=same allows smaller"),
        ("plain_cnn", {}, (3, 24, 24), None),
        ("plain_cnn", {"padding": "same"}, (1, 8, 8), None),
    ],
)
def test_a_model_says_which_examples_do_not_fit(
    registry: Registry, name: str, settings: dict[str, Any], shape: tuple[int, ...], reason: str | None
) -> None:
    found = registry.load("model", name)(**settings).unfit(shape)
    assert found == reason if found is None or reason is None else reason in found


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(6, 2, 3), nn.MultiheadAttention(6, 2, batch_first=True)
    layers = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(4, 5, 6)
    assert torch.allclose(ours(x), theirs(x, x, x, need_weights=False)[0], atol=1e-6)


def test_a_transformer_sees_where_a_patch_lies(registry: Registry) -> None:
    """Without positions the mean over tokens would not change when patches change places."""
    torch.manual_seed(0)
    architecture = registry.load("model", "vit")(**SMALL["vit"])
    model = architecture.build((1, 8, 8), 3, LayerFactories(activation=nn.ReLU, norm=nn.LayerNorm))
    x = torch.randn(2, 1, 8, 8)
    assert not torch.allclose(model(x), model(x.roll(4, dims=3)), atol=1e-4)
    model[0].positions.zero_()
    assert torch.allclose(model(x), model(x.roll(4, dims=3)), atol=1e-5)


@pytest.mark.parametrize("width", [1, 4, 10, 64])
def test_positions_differ_and_are_waves(width: int) -> None:
    """By hand for the first wave, whose length is 2 pi: the sine of the column."""
    found = position_encoding(3, 4, width)
    assert found.shape == (12, width)
    assert found[:, 0].tolist() == pytest.approx([math.sin(x) for _ in range(3) for x in range(4)], abs=1e-6)
    if width >= 10:
        assert len(found.unique(dim=0)) == 12


def test_layers_of_a_remedy_work_on_the_features_of_a_token(registry: Registry) -> None:
    """Norms of batches and activations of any width get (examples, features) in a transformer, too."""
    seen = list[torch.Size]()

    class Seen(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape)
            return super().forward(x)

    architecture = registry.load("model", "vit")(**SMALL["vit"])
    model = architecture.build((1, 8, 8), 3, LayerFactories(activation=CReLU, norm=Seen))
    model(torch.randn(5, 1, 8, 8))
    assert seen == [torch.Size([20, 10])] * 5


@pytest.mark.parametrize(
    ("name", "pooled"), [("resnet18", 2), ("resnet18_sota", 4), ("resnet18_imagenet", 1)]
)
def test_the_versions_of_resnet18_differ_in_the_pool(registry: Registry, name: str, pooled: int) -> None:
    model = build(registry, name, **SMALL[name])
    seen: list[torch.Size] = []
    blocks = [module for module in model.modules() if type(module).__name__ == "BasicBlock"]
    blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.randn(2, 3, 32, 32))
    assert seen[0][2:] == (pooled, pooled)


def test_resnet18_for_imagenet_computes_what_torchvisions_does(registry: Registry) -> None:
    from torchvision.models import resnet18

    reference, model = resnet18(num_classes=10).eval(), build(registry, "resnet18_imagenet").eval()
    model.load_state_dict(dict(zip(model.state_dict(), reference.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(x), reference(x), atol=1e-5)


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

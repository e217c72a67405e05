"""Hidden units, against what the model computes: every claim is checked by changing weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from support.zoo import PLAIN, Attention, Recurrent, Tied, body, zoo_task
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from plastibench.api import HiddenUnits, hidden_units, unsupported_units, watch_activations
from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.models.vgg16_bn import VGG16BN
from plastibench.plugins.architecture import LayerFactories
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context
from plastibench.training.learner import Learner

SHAPE = (1, 8, 8)


class Expanded(nn.Module):
    """Each unit has a positive and a negative part, of which it feeds two columns."""

    expansion = 2

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.relu(), (-x).relu()], 1)


class Dense(nn.Module):
    """The second layer's input holds both the images' own features and those of the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 5, 3), nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, self.first(x)], 1)
        return self.head(self.second(self.norm(y).relu()).relu().mean((2, 3)))  # type: ignore[no-any-return]


class Gate(torch.autograd.Function):
    """An activation with its own gradient, of functions that mix no units."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)


class Gated(nn.Module):
    """Of two layers one multiplies the other; a third has an activation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 6), nn.Linear(64, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head(Gate.apply(self.c(self.a(x) * self.b(x).sigmoid())))  # type: ignore[no-any-return]


class Sequences(nn.Module):
    """A block of a transformer: only the layer within the feed-forward part has units of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.up, self.down, self.head = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x.squeeze(1))
        y = y + self.down(nn.functional.gelu(self.up(self.norm(y))))
        return self.head(y.mean(1))  # type: ignore[no-any-return]


def crelu() -> nn.Module:
    layers = [nn.Conv2d(1, 3, 3), Expanded(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 6), Expanded()]
    return nn.Sequential(*layers, nn.Linear(12, 10))


def vgg() -> nn.Module:
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ELU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)]
    hidden = [nn.Flatten(), nn.Linear(12, 6), nn.ELU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*layers, *hidden, nn.Linear(6, 10))


OF_REGISTRY = ("mlp_bn", "small_resnet")
MODELS: dict[str, Callable[[], nn.Module]] = {
    **{name: build for name, build in PLAIN.items() if build not in (Attention, Recurrent, Tied)},
    "crelu": crelu,
    "dense": Dense,
    "vgg": vgg,
    "gated": Gated,
    "sequences": Sequences,
    **{name: lambda name=name: small_digits(Registry(), name).model() for name in OF_REGISTRY},  # type: ignore[misc]
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # statistics that a reset would change
            module.running_mean, module.running_var = (
                torch.randn(module.num_features),
                torch.rand(module.num_features) + 1,
            )
    return model


def x() -> Tensor:
    return torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def changed(model: nn.Module, change: Callable[[nn.Module], None]) -> nn.Module:
    other = copy.deepcopy(model)
    with torch.no_grad():
        change(other)
    return other


def scale_incoming(units: HiddenUnits, unit: int, model: nn.Module) -> None:
    layer = dict(model.named_modules())[units.name]
    layer.weight.movedim(units.incoming.dim, 0)[unit] *= -3.0


def test_without_its_outgoing_weights_a_unit_changes_nothing(model: nn.Module) -> None:
    for number, units in enumerate(hidden_units(model, SHAPE)):

        def cut(other: nn.Module, number: int = number) -> None:
            found = hidden_units(other, SHAPE)[number]
            mask = torch.zeros(len(found), dtype=torch.bool)
            mask[1] = True
            for part in found.outgoing:
                part.module.weight.masked_fill_(part.spread(mask, part.module.weight), 0.0)

        without = changed(model, cut)
        assert not torch.equal(model(x()), without(x())), f"{units.name} has other outgoing weights"
        rescaled = changed(without, partial(scale_incoming, units, 1))
        assert torch.equal(without(x()), rescaled(x())), f"{units.name} has more outgoing weights"
        other_unit = changed(without, partial(scale_incoming, units, 0))
        assert not torch.equal(without(x()), other_unit(x())), (
            f"outgoing weights of two units of {units.name}"
        )


def test_the_activation_of_a_unit_depends_on_its_own_incoming_weights(model: nn.Module) -> None:
    for number, units in enumerate(hidden_units(model, SHAPE)):
        rescaled = changed(model, partial(scale_incoming, units, 1))
        with watch_activations(hidden_units(model, SHAPE)) as before:
            model(x())
        with watch_activations(hidden_units(rescaled, SHAPE)) as after:
            rescaled(x())
        assert before[number].shape[:2] == (5, len(units))
        same = [
            torch.equal(a, b) for a, b in zip(before[number].unbind(1), after[number].unbind(1), strict=True)
        ]
        assert same == [unit != 1 for unit in range(len(units))]
        assert not before[number].requires_grad


def test_a_normalization_has_an_entry_for_each_of_its_units(model: nn.Module) -> None:
    for number, units in enumerate(hidden_units(model, SHAPE)):
        for norm in units.norms:
            if norm.module.weight is None:
                continue

            def silence(other: nn.Module, number: int = number) -> None:
                found = hidden_units(other, SHAPE)[number]
                mask = torch.zeros(len(found), dtype=torch.bool)
                mask[1] = True
                for parameter in (found.norms[0].module.weight, found.norms[0].module.bias):
                    parameter.masked_fill_(found.norms[0].spread(mask, parameter), 0.0)

            silent, found = changed(model, silence), []
            for either in (model, silent):
                with watch_activations(hidden_units(either, SHAPE)) as activations:
                    either(x())
                found.append(activations[number])
            assert found[1][:, 1].abs().max() == 0
            others = [unit for unit in range(len(units)) if unit != 1]
            assert torch.equal(found[0][:, others], found[1][:, others])


def test_every_model_with_hidden_units_lists_them() -> None:
    names = {name: [units.name for units in hidden_units(build(), SHAPE)] for name, build in MODELS.items()}
    assert names == {
        "frozen": ["body"],
        "head_first": ["body.1"],
        "embedding": ["body"],
        "buffers": ["body"],
        "two_parts": ["left.0", "right.0"],
        "conv3d": ["1"],
        "transposed": ["0"],
        "crelu": ["0", "4"],
        "dense": ["first", "second"],
        "vgg": ["0", "6"],
        "gated": ["c"],
        "sequences": ["up"],
        "mlp_bn": ["1", "4"],
        "small_resnet": ["3.conv1", "4.conv1", "5.conv1"],
    }


def test_a_channel_has_a_block_of_the_columns_that_it_is_flattened_to() -> None:
    factories = LayerFactories(activation=nn.ReLU, norm=nn.BatchNorm2d)
    with torch.device("cpu"):
        model = VGG16BN(hidden=8).build((3, 32, 32), 10, factories)
    layers = hidden_units(model, (3, 32, 32))
    assert len(layers) == 15
    last = layers[12]
    assert last.outgoing[0].index.tolist()[3] == list(range(3 * 49, 4 * 49))
    columns = model.get_parameter("46.weight").view(8, 512, 49)
    assert torch.equal(last.outgoing_rows().view(512, 49, 8), columns.permute(1, 2, 0))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Tied, r"'stem': it feeds 'a', which shares a parameter"),
        (Attention, r"'stem': it feeds 'norm', a LayerNorm"),
        (Recurrent, r"no layer of hidden units is found"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), r"'1': it returns the logits"),
        (lambda: parametrizations.weight_norm(body()[1]), r"layer '' of the model computes its weight"),
    ],
)
def test_a_model_without_hidden_units_is_refused_with_the_reason(
    build: Callable[[], nn.Module], reason: str
) -> None:
    with pytest.raises(RequestError, match=reason):
        hidden_units(build(), SHAPE)


def test_a_method_can_say_before_the_run_that_there_are_no_units(registry: Registry) -> None:
    assert unsupported_units(small_digits(registry)) is None
    assert "hidden_units = " in (unsupported_units(zoo_task(registry, "recurrent")) or "")


def test_declared_units_are_those_that_are_found() -> None:
    model = vgg()
    for found, given in zip(
        hidden_units(model, SHAPE), hidden_units(model, SHAPE, {"0": ("1", "6"), "6": ("9",)}), strict=True
    ):
        assert (found.name, found.incoming.dim) == (given.name, given.incoming.dim)
        for a, b in zip((*found.norms, *found.outgoing), (*given.norms, *given.outgoing), strict=True):
            assert a.module is b.module
            assert (a.dim, a.in_order, a.index.tolist()) == (b.dim, b.in_order, b.index.tolist())


@pytest.mark.parametrize(
    ("feeds", "error"),
    [
        ({"first": ("0",)}, "no layer of the model in hidden_units named 'first'"),
        ({"0": ("sixth",)}, "no layer of the model in hidden_units named 'sixth'"),
        ({"2": ("6",)}, "'2' feeds '6', but 0 units do not fit 12 inputs"),
        ({"6": ("0",)}, "'6' feeds '0', but 6 units do not fit 1 inputs"),
        ({"0": ("1",)}, "hidden_units names no layer that '0' feeds"),
    ],
)
def test_a_wrong_declaration_is_an_error(feeds: dict[str, tuple[str, ...]], error: str) -> None:
    with pytest.raises(RequestError, match=error):
        hidden_units(vgg(), SHAPE, feeds)


def test_listing_units_leaves_the_model_and_torchs_streams_alone(model: nn.Module) -> None:
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    hidden_units(model, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_learner_lists_the_units_of_its_present_weights(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn")
    learner = Learner(task, Method(), 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    first = learner.hidden_units()
    assert learner.hidden_units() is first
    learner.restart()
    assert learner.hidden_units()[0].weight is learner.model.get_parameter("1.weight")
    learner.model.get_parameter("4.weight").requires_grad_(False)
    with pytest.raises(RequestError, match="'4': it is not trained"):
        learner.hidden_units()

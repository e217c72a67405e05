"""The convolution of small images: values, gradients and second gradients are torch's, in every precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from plastibench.devices import Cpu, Cuda, get_device
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.models.layers.conv3x3_bf16 import GatheredConv

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2)]


def torch_conv(layer: Conv3x3, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, padding=1)


FEW = (2, 3)
"""Channels for second gradients: what they take grows with the number of weights, squared."""


def make_layer(
    size: tuple[int, int], channels: tuple[int, int] = (5, 7), *, stride: int = 1, bias: bool = True
) -> tuple[Conv3x3, Tensor]:
    torch.manual_seed(0)
    layer = Conv3x3(*channels, stride, bias=bias).double().to(memory_format=torch.channels_last)
    return layer, torch.randn(3, channels[0], *size, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("size", [*SIZES, (3, 2), (4, 4)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_torchs(size: tuple[int, int], bias: bool) -> None:
    layer, x = make_layer(size, bias=bias)
    expected = torch_conv(layer, x)
    actual = layer(x)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(expected)
    inputs = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad(actual, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.heavy
@pytest.mark.parametrize("size", SIZES)
def test_second_gradients_are_right(size: tuple[int, int]) -> None:
    layer, x = make_layer(size, FEW)

    def of(x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return y

    assert torch.autograd.gradgradcheck(of, (x, layer.weight))


def test_strided_convolutions_are_torchs() -> None:
    layer, x = make_layer((2, 2), stride=2)
    assert torch.equal(layer(x), torch_conv(layer, x))


def test_autocast_computes_in_bf16() -> None:
    layer, x = make_layer((2, 2))
    layer, x = layer.float(), x.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual, expected = layer(x), torch_conv(layer, x)
    assert actual.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected, rtol=2**-7, atol=2**-6)
    actual.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_the_padding_is_not_multiplied() -> None:
    layer, x = make_layer((2, 2))
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    forward = 2 * len(x) * 5 * 7 * 16  # every pixel with every pixel: 16 products instead of 36
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("size", "stride"),
    [*((size, s) for size in SIZES for s in (1, 2)), ((3, 4), 2), ((4, 4), 2), ((4, 3), 1)],
)
def test_gathered_values_and_both_gradients_are_torchs(size: tuple[int, int], stride: int) -> None:
    layer, x = make_layer(size, stride=stride, bias=False)
    expected, actual = torch_conv(layer, x), GatheredConv.apply(x, layer.weight, stride)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(expected)
    inputs = [x, layer.weight]
    for a, b in zip(
        torch.autograd.grad(actual, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    layer, x = make_layer(size, FEW, stride=stride, bias=False)
    assert torch.autograd.gradgradcheck(lambda x, w: GatheredConv.apply(x, w, stride), (x, layer.weight))


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (4, 2)])
def test_wide_layers_in_bf16_are_rounded_once(size: int, stride: int) -> None:
    """Every value and gradient is within half a step of bf16, 2^-9, of the sum in double precision.

    The tolerance has another half for sums that float32 puts on the other side of a midpoint.
    """
    torch.manual_seed(0)
    layer = Conv3x3(128, 128, stride).bfloat16()
    get_device("cpu").prepare_model(layer)
    x = torch.randn(8, 128, size, size, dtype=torch.bfloat16, requires_grad=True)
    actual = layer(x)
    assert "GatheredConv" in str(actual.grad_fn)
    exact = [v.detach().double().requires_grad_() for v in (x, layer.weight)]
    expected = F.conv2d(exact[0], exact[1], None, stride, padding=1)
    grad = torch.randn_like(actual)
    computed = [actual, *torch.autograd.grad(actual, [x, layer.weight], grad)]
    sums = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    for a, b in zip(computed, sums, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2**-8, atol=1e-4)


def test_narrow_layers_and_float32_keep_their_bits() -> None:
    for channels, dtype in ((64, torch.bfloat16), (128, torch.float32)):
        layer = Conv3x3(channels, channels, 2).to(dtype)
        get_device("cpu").prepare_model(layer)
        x = torch.randn(2, channels, 4, 4, dtype=dtype)
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, None, 2, 1))


def test_wide_bf16_layers_are_gathered_only_on_devices_that_ask_for_it() -> None:
    layer, x = Conv3x3(128, 128, 2).bfloat16(), torch.randn(2, 128, 4, 4, dtype=torch.bfloat16)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, None, 2, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_devices_with_a_fast_library_use_its_convolution(dtype: torch.dtype) -> None:
    class WithLibrary(Cpu):
        small_convolution = Cuda.small_convolution

    layer, x = Conv3x3(128, 128).to(dtype), torch.randn(2, 128, 2, 2, dtype=dtype)
    WithLibrary().prepare_model(layer)
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    assert torch.equal(y, F.conv2d(x, layer.weight, None, 1, 1))
    assert counter.get_total_flops() == 2 * y.numel() * 128 * 9, "the padding is multiplied and counted"

"""The convolution of small images: torch's own sums, gradients and second gradients, in every precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from plastibench.devices import get_device
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.models.layers.conv3x3_bf16 import GatheredConv

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2)]


def plain(layer: Conv3x3, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, padding=1)


def made(size: tuple[int, int], *, stride: int = 1, bias: bool = True) -> tuple[Conv3x3, Tensor]:
    torch.manual_seed(0)
    layer = Conv3x3(5, 7, stride, bias=bias).double().to(memory_format=torch.channels_last)
    return layer, torch.randn(3, 5, *size, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("size", [*SIZES, (3, 2), (4, 4)])
@pytest.mark.parametrize("bias", [False, True])
def test_its_values_and_gradients_are_torchs(size: tuple[int, int], bias: bool) -> None:
    layer, x = made(size, bias=bias)
    wanted = plain(layer, x)
    found = layer(x)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    against = torch.randn_like(wanted)
    inputs = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad(found, inputs, against), torch.autograd.grad(wanted, inputs, against), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_its_second_gradients_are_right(size: tuple[int, int]) -> None:
    layer, x = made(size)

    def of(x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return y

    assert torch.autograd.gradgradcheck(of, (x, layer.weight))


def test_a_stride_is_torchs() -> None:
    layer, x = made((2, 2), stride=2)
    assert torch.equal(layer(x), plain(layer, x))


def test_autocast_computes_in_the_lower_precision() -> None:
    layer, x = made((2, 2))
    layer, x = layer.float(), x.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = layer(x), plain(layer, x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=2**-7, atol=2**-6)
    found.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_it_multiplies_by_no_padding() -> None:
    layer, x = made((2, 2))
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    forward = 2 * len(x) * 5 * 7 * 16  # every pixel with every pixel, where a kernel has 36 taps
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize(
    ("size", "stride"),
    [*((size, s) for size in SIZES for s in (1, 2)), ((3, 4), 2), ((4, 4), 2), ((4, 3), 1)],
)
def test_gathered_values_and_both_gradients_are_torchs(size: tuple[int, int], stride: int) -> None:
    layer, x = made(size, stride=stride, bias=False)
    wanted, found = plain(layer, x), GatheredConv.apply(x, layer.weight, stride)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    against = torch.randn_like(wanted)
    inputs = [x, layer.weight]
    for a, b in zip(
        torch.autograd.grad(found, inputs, against), torch.autograd.grad(wanted, inputs, against), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradgradcheck(lambda x, w: GatheredConv.apply(x, w, stride), (x, layer.weight))


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (4, 2)])
def test_wide_layers_in_bf16_are_rounded_once(size: int, stride: int) -> None:
    """Every value and gradient lies within half a step of bf16, 2^-9 of it, of the sum in double precision.

    The other half is for sums that float32 puts on the far side of a middle.
    """
    torch.manual_seed(0)
    layer = Conv3x3(128, 128, stride).bfloat16()
    get_device("cpu").prepare_model(layer)
    x = torch.randn(8, 128, size, size, dtype=torch.bfloat16, requires_grad=True)
    found = layer(x)
    assert "GatheredConv" in str(found.grad_fn)
    exact = [v.detach().double().requires_grad_() for v in (x, layer.weight)]
    wanted = F.conv2d(exact[0], exact[1], None, stride, padding=1)
    against = torch.randn_like(found)
    made = [found, *torch.autograd.grad(found, [x, layer.weight], against)]
    sums = [wanted, *torch.autograd.grad(wanted, exact, against.double())]
    for a, b in zip(made, sums, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2**-8, atol=1e-4)


def test_narrow_layers_and_float32_keep_their_bits() -> None:
    for channels, dtype in ((64, torch.bfloat16), (128, torch.float32)):
        layer = Conv3x3(channels, channels, 2).to(dtype)
        get_device("cpu").prepare_model(layer)
        x = torch.randn(2, channels, 4, 4, dtype=dtype)
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, None, 2, 1))


def test_a_device_that_does_not_ask_for_it_has_torchs_own_convolution() -> None:
    layer, x = Conv3x3(128, 128, 2).bfloat16(), torch.randn(2, 128, 4, 4, dtype=torch.bfloat16)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, None, 2, 1))

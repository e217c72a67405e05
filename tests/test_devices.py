"""The seam between the code and the hardware."""

from __future__ import annotations

import pytest
import torch
from tests_support import Listening, captured_digits, small_digits
from torch import nn

from plastibench.capture import Recorder
from plastibench.devices import Cpu, Cuda, pick
from plastibench.errors import RequestError
from plastibench.method import Method
from plastibench.registry import Registry
from plastibench.testing.trial import run, same_bits


def test_a_device_is_picked_by_name() -> None:
    assert str(pick("cpu")) == "cpu"
    assert pick("cpu").side_by_side() >= 1
    assert "cores" in pick("cpu").name()


def test_an_unknown_device_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RequestError, match=r"no device named 'cdua'; did you mean 'cuda'"):
        pick("cdua")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "hpu"])
def test_an_absent_device_is_an_error_and_never_another_one(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    if name == "hpu" and hasattr(torch, "hpu"):
        pytest.skip("this machine has a Gaudi card")
    with pytest.raises(RequestError, match=f"device '{name}' cannot be used: torch sees no"):
        pick(name)


@pytest.mark.parametrize("name", ["cpu:1", "cpu:x", "cpu:-1"])
def test_a_number_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="numbered 0 to 0"):
        pick(name)


def test_a_precision_that_a_device_lacks_is_refused() -> None:
    with pytest.raises(RequestError, match=r"precision=tf32 is not allowed on cpu: it can be fp32, bf16"):
        pick("cpu").precision("tf32")


def test_bf16_is_computed_in_bf16() -> None:
    with pick("cpu").precision("bf16"):
        assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.bfloat16
    assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.float32


def test_models_are_laid_out_for_the_device() -> None:
    device = pick("cpu")
    model = device.place(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 1, stride=2)))
    assert device.layout(model) == torch.channels_last
    assert next(model.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_breaks_torchs_kernel_is_laid_out_otherwise() -> None:
    # In channels last the backward pass of this convolution ends the process (torch 2.15, CPU).
    narrow = pick("cpu").place(nn.Conv2d(4, 8, 1, stride=2))
    layout = pick("cpu").layout(narrow)
    assert layout == torch.contiguous_format
    for _ in range(3):
        images = torch.randn(32, 4, 64, 64).contiguous(memory_format=layout).requires_grad_()
        narrow(images).sum().backward()


def test_precision_changes_the_result_and_is_in_the_recipe(registry: Registry) -> None:
    trials = [
        run(small_digits(registry, recipe={"precision": precision}), Method())
        for precision in ("fp32", "bf16")
    ]
    assert not same_bits(trials[0].weights, trials[1].weights)


@pytest.mark.cuda
def test_cuda_gives_the_accuracy_of_the_cpu(registry: Registry) -> None:
    task = small_digits(registry, recipe={"max_epochs": 20})
    here, there = run(task, Method(), device=Cpu()), run(task, Method(), device=pick("cuda"))
    for a, b in zip(here.results, there.results, strict=True):
        assert a.num_train == b.num_train
        assert a.test_accuracy == pytest.approx(b.test_accuracy, abs=0.1)


@pytest.mark.cuda
def test_cuda_says_what_it_held() -> None:
    device = pick("cuda")
    device.reset_peak_memory()
    torch.zeros(1024, device=device.torch)
    device.synchronise()
    assert (device.peak_memory() or 0) >= 4096


@pytest.mark.cuda
def test_cuda_gives_no_process_more_than_its_part() -> None:
    device = pick("cuda")
    whole = torch.cuda.get_device_properties(device.torch).total_memory
    device.share(4)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(whole // 3, dtype=torch.uint8, device=device.torch)
    finally:
        device.share(1)
        device.give_back()


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_cuda_graphs_give_what_steps_by_python_give(registry: Registry, optimizer: str) -> None:
    class ByPython(Cuda):
        def recorder(self) -> Recorder | None:
            return None

    task = captured_digits(registry, optimizer=optimizer)
    told = Listening()
    replayed, taken = (
        run(task, Method(), device=pick("cuda"), company=told),
        run(task, Method(), device=ByPython()),
    )
    assert told.said == []
    for one, other in zip(replayed.weights[-1].values(), taken.weights[-1].values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)

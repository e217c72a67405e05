"""The seam between the code and the hardware."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.commands import SMALL, child, small_run
from support.tasks import Listening, captured_digits, small_digits
from torch import nn

from plastibench.devices import Cpu, Cuda, Hpu, get_device
from plastibench.devices.graph_capture import GraphCapturer
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.store.record_diff import differences
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import equal_weights, trace_run


def test_a_device_is_picked_by_name() -> None:
    assert str(get_device("cpu")) == "cpu"
    assert get_device("cpu").default_num_processes() >= 1
    assert "cores" in get_device("cpu").name()


def test_an_unknown_device_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RequestError, match=r"no device named 'cdua'; did you mean 'cuda'"):
        get_device("cdua")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "hpu"])
def test_an_absent_device_is_an_error_and_never_another_one(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    if name == "hpu" and hasattr(torch, "hpu"):
        pytest.skip("this machine has a Gaudi card")
    with pytest.raises(RequestError, match=f"device '{name}' cannot be used: torch sees no"):
        get_device(name)


@pytest.mark.parametrize("name", ["cpu:1", "cpu:x", "cpu:-1"])
def test_a_number_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="numbered 0 to 0"):
        get_device(name)


@pytest.mark.parametrize(
    ("said", "most"), [(None, 8), ("", 8), ("many", 8), ("3", 3), ("2,1", 2), ("0", 1), ("99", 8)]
)
def test_cores_are_shared_out_and_a_process_takes_no_more_than_it_is_allowed(
    said: str | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    if said is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    threads = [Cpu().num_threads(runs) for runs in (1, 2, 3, 8, 20)]
    assert threads == [min(most, share) for share in (8, 4, 2, 1, 1)]


def test_the_user_says_how_many_threads_a_run_takes(tmp_path: Path) -> None:
    for words in ((), ("--threads", 2, "--seeds", "1-1"), ("--threads", 3, "--seeds", "2,3", "--jobs", 2)):
        small_run(tmp_path, "--method", "warm", *words)
    found = sorted((run.spec.seed, run.provenance["threads"]) for run in Store(tmp_path).records())
    assert found == [(0, 1), (1, 2), (2, 3), (3, 3)]


def test_a_precision_that_a_device_lacks_is_refused() -> None:
    with pytest.raises(RequestError, match=r"precision=tf32 is not allowed on cpu: it can be fp32, bf16"):
        get_device("cpu").autocast("tf32")


def test_bf16_is_computed_in_bf16() -> None:
    with get_device("cpu").autocast("bf16"):
        assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.bfloat16
    assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.float32


def test_models_are_laid_out_for_the_device() -> None:
    device = get_device("cpu")
    model = device.prepare_model(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 1, stride=2)))
    assert device.memory_format(model) == torch.channels_last
    assert next(model.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_breaks_torchs_kernel_is_laid_out_otherwise() -> None:
    # In channels last the backward pass of this convolution ends the process (torch 2.15, CPU).
    narrow = get_device("cpu").prepare_model(nn.Conv2d(4, 8, 1, stride=2))
    layout = get_device("cpu").memory_format(narrow)
    assert layout == torch.contiguous_format
    for _ in range(3):
        images = torch.randn(32, 4, 64, 64).contiguous(memory_format=layout).requires_grad_()
        narrow(images).sum().backward()


def test_precision_changes_the_result_and_is_in_the_recipe(registry: Registry) -> None:
    trials = [
        trace_run(small_digits(registry, recipe={"precision": precision}), Method())
        for precision in ("fp32", "bf16")
    ]
    assert not equal_weights(trials[0].weights, trials[1].weights)


@pytest.mark.cuda
def test_cuda_gives_the_accuracy_of_the_cpu(registry: Registry) -> None:
    task = small_digits(registry, recipe={"max_epochs": 20})
    here, there = (
        trace_run(task, Method(), device=Cpu()),
        trace_run(task, Method(), device=get_device("cuda")),
    )
    for a, b in zip(here.results, there.results, strict=True):
        assert a.num_train == b.num_train
        assert a.test_accuracy == pytest.approx(b.test_accuracy, abs=0.1)


@pytest.mark.cuda
def test_cuda_says_what_it_held() -> None:
    device = get_device("cuda")
    device.reset_peak_memory_stats()
    torch.zeros(1024, device=device.torch_device)
    device.synchronize()
    assert (device.max_memory_allocated() or 0) >= 4096


@pytest.mark.cuda
def test_cuda_gives_no_process_more_than_its_part() -> None:
    device = get_device("cuda")
    whole = torch.cuda.get_device_properties(device.torch_device).total_memory
    device.limit_memory(4)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(whole // 3, dtype=torch.uint8, device=device.torch_device)
    finally:
        device.limit_memory(1)
        device.empty_cache()


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_cuda_graphs_give_what_steps_by_python_give(registry: Registry, optimizer: str) -> None:
    class ByPython(Cuda):
        def graph_capturer(self) -> GraphCapturer | None:
            return None

    task = captured_digits(registry, optimizer=optimizer)
    told = Listening()
    replayed, taken = (
        trace_run(task, Method(), device=get_device("cuda"), callback=told),
        trace_run(task, Method(), device=ByPython()),
    )
    assert told.said == []
    for one, other in zip(replayed.weights[-1].values(), taken.weights[-1].values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


DETERMINISTIC = """
import os, torch
from plastibench.devices import Cuda
device = Cuda()
print(device.is_deterministic())
device.use_deterministic_algorithms()
print(device.is_deterministic(), os.environ["CUBLAS_WORKSPACE_CONFIG"], torch.backends.cudnn.benchmark)
"""


def test_cuda_is_told_to_be_deterministic_when_asked_and_not_before() -> None:
    done = child("-c", DETERMINISTIC)
    assert done.stdout.split() == ["False", "True", ":4096:8", "False"], done.stderr


def test_the_processor_is_always_deterministic_and_a_device_that_cannot_be_refuses() -> None:
    get_device("cpu").use_deterministic_algorithms()
    assert get_device("cpu").is_deterministic()
    assert not torch.are_deterministic_algorithms_enabled(), "what is not needed is not switched on"
    with pytest.raises(RequestError, match="hpu has no deterministic algorithms"):
        Hpu.use_deterministic_algorithms(Hpu.__new__(Hpu))


def test_a_record_says_whether_its_bits_can_be_had_again(tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm", "--deterministic").status == 0
    (record,) = Store(tmp_path).records()
    assert record.provenance["deterministic"] is True


@pytest.mark.cuda
@pytest.mark.parametrize("method", Registry().names("method"))
@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_interrupted_run_ends_with_the_same_bits_on_cuda(method: str, optimizer: str, tmp_path: Path) -> None:
    words = ["--device", "cuda", "--deterministic", "--method", method, "--set", f"optimizer={optimizer}"]
    words += ["--seeds", "1", "--checkpoint-interval", "0", *SMALL]
    program = Path(__file__).parents[1] / "support" / "fault_program.py"
    kill = json.dumps({"kill": [".checkpoint.pt"], "at": 9})
    for home, fault in (("whole", "{}"), ("killed", kill), ("killed", "{}")):
        done = child(str(program), fault, "run", "--no-mlflow", "--home", str(tmp_path / home), *words)
        assert done.returncode == (-9 if fault == kill else 0), done.stderr
    ((whole,), (killed,)) = (Store(tmp_path / home).records() for home in ("whole", "killed"))
    assert killed.provenance["attempts"] == 2
    assert list(differences(whole, killed, ("whole", "killed"))) == []

"""Devices: names, precisions, memory formats, threads, determinism."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from support.commands import SMALL, child, small_run
from support.tasks import LogRecorder, captured_digits, small_digits
from torch import nn

from plastibench.devices import Cpu, Cuda, Device, Hpu, get_device
from plastibench.devices.cuda_graphs import CudaGraphs
from plastibench.devices.graph_capture import GraphCapturer
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.store.record_diff import differences
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import equal_weights, trace_run


def test_devices_have_names() -> None:
    assert str(get_device("cpu")) == "cpu"
    assert get_device("cpu").default_num_processes() >= 1
    assert "cores" in get_device("cpu").name()


def test_an_unknown_device_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(RequestError, match=r"no device named 'cdua'; did you mean 'cuda'"):
        get_device("cdua")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "hpu"])
def test_a_missing_device_is_an_error_and_never_replaced(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    if name == "hpu" and hasattr(torch, "hpu"):
        pytest.skip("this machine has a Gaudi card")
    with pytest.raises(RequestError, match=f"device '{name}' cannot be used: torch sees no"):
        get_device(name)


def test_mps_is_known_by_the_pipe_of_its_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    advice = Cuda(0).sharing_advice()
    assert (advice is None) == bool(torch.version.hip)
    assert Cuda(0).default_num_processes() == 1
    (tmp_path / "control").touch()
    assert Cuda(0).sharing_advice() is None
    assert Cuda(0).default_num_processes() == 4


def test_only_a_device_with_a_compiler_compiles_on_request() -> None:
    with pytest.raises(RequestError, match="passes on cpu are not compiled: leave out --compile"):
        get_device("cpu").use_compiler()
    card = Cuda(0)
    assert card.compile_backend() is None
    card.use_compiler()
    assert card.compile_backend() == "inductor"
    with card.benchmarking(enabled=True):
        assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RequestError, match="which --deterministic excludes"):
            Cuda(0).use_compiler()
    finally:
        torch.use_deterministic_algorithms(False)


def test_compile_is_refused_before_a_run_starts(tmp_path: Path) -> None:
    refused = small_run(tmp_path, "--method", "warm", "--compile")
    assert refused.status == 2
    assert "leave out --compile" in refused.err


@pytest.mark.parametrize("name", ["cpu:1", "cpu:x", "cpu:-1"])
def test_a_missing_device_index_is_an_error(name: str) -> None:
    with pytest.raises(RequestError, match="numbered 0 to 0"):
        get_device(name)


@pytest.mark.parametrize(
    ("variable", "most"), [(None, 8), ("", 8), ("many", 8), ("3", 3), ("2,1", 2), ("0", 1), ("99", 8)]
)
def test_processes_share_the_cores_within_the_limit_of_omp_num_threads(
    variable: str | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    threads = [Cpu().num_threads(runs) for runs in (1, 2, 3, 8, 20)]
    assert threads == [min(most, share) for share in (8, 4, 2, 1, 1)]


@pytest.mark.heavy
def test_the_user_sets_the_threads_of_a_run(tmp_path: Path) -> None:
    for words in ((), ("--threads", 2, "--seeds", "1-1"), ("--threads", 3, "--seeds", "2,3", "--jobs", 2)):
        small_run(tmp_path, "--method", "warm", *words)
    found = sorted((run.spec.seed, run.provenance["threads"]) for run in Store(tmp_path).records())
    assert found == [(0, 1), (1, 2), (2, 3), (3, 3)]


def test_an_unsupported_precision_is_an_error() -> None:
    with pytest.raises(RequestError, match=r"precision=tf32 is not allowed on cpu: it can be fp32, bf16"):
        get_device("cpu").autocast("tf32")


def test_bf16_is_computed_in_bf16() -> None:
    with get_device("cpu").autocast("bf16"):
        assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.bfloat16
    assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.float32


def test_models_have_the_devices_memory_format() -> None:
    device = get_device("cpu")
    model = device.prepare_model(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 1, stride=2)))
    assert device.memory_format(model) == torch.channels_last
    assert next(model.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_breaks_torchs_kernel_has_another_memory_format() -> None:
    # In channels last the backward pass of this convolution ends the process (torch 2.15, CPU).
    narrow = get_device("cpu").prepare_model(nn.Conv2d(4, 8, 1, stride=2))
    memory_format = get_device("cpu").memory_format(narrow)
    assert memory_format == torch.contiguous_format
    for _ in range(3):
        images = torch.randn(32, 4, 64, 64).contiguous(memory_format=memory_format).requires_grad_()
        narrow(images).sum().backward()


class Adaptive(nn.Linear):
    """A layer that wants to know the device."""

    device: Device | None = None

    def prepare_for(self, device: Device) -> None:
        self.device = device


def test_layers_may_prepare_themselves_for_the_device() -> None:
    device, layer = get_device("cpu"), Adaptive(2, 2)
    device.prepare_model(nn.Sequential(nn.ReLU(), nn.Sequential(layer)))
    assert layer.device is device


@pytest.mark.heavy
def test_the_recipes_precision_changes_the_result(registry: Registry) -> None:
    traces = [
        trace_run(small_digits(registry, recipe={"precision": precision}), Method())
        for precision in ("fp32", "bf16")
    ]
    assert not equal_weights(traces[0].weights, traces[1].weights)


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
def test_cuda_captures_all_steps_of_a_process_on_one_stream() -> None:
    streams = {CudaGraphs(get_device("cuda").torch_device).stream for _ in range(3)}
    assert len(streams) == 1


@pytest.mark.cuda
def test_cuda_measures_peak_memory() -> None:
    device = get_device("cuda")
    device.reset_peak_memory_stats()
    torch.zeros(1024, device=device.torch_device)
    device.synchronize()
    assert (device.max_memory_allocated() or 0) >= 4096


@pytest.mark.cuda
def test_cuda_limits_the_memory_of_a_process() -> None:
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
def test_cuda_graphs_agree_with_eager_steps(registry: Registry, optimizer: str) -> None:
    class EagerCuda(Cuda):
        def graph_capturer(self) -> GraphCapturer | None:
            return None

    task = captured_digits(registry, optimizer=optimizer)
    log = LogRecorder()
    replayed, taken = (
        trace_run(task, Method(), device=get_device("cuda"), callback=log),
        trace_run(task, Method(), device=EagerCuda()),
    )
    assert log.messages == []
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


@pytest.mark.heavy
@pytest.mark.slow
def test_cuda_is_deterministic_on_request_only() -> None:
    done = child("-c", DETERMINISTIC)
    assert done.stdout.split() == ["False", "True", ":4096:8", "False"], done.stderr


def test_the_cpu_is_always_deterministic_and_a_device_that_cannot_be_raises() -> None:
    get_device("cpu").use_deterministic_algorithms()
    assert get_device("cpu").is_deterministic()
    assert not torch.are_deterministic_algorithms_enabled(), "the CPU does not need them"
    with pytest.raises(RequestError, match="hpu has no deterministic algorithms"):
        Hpu.use_deterministic_algorithms(Hpu.__new__(Hpu))


def test_a_process_takes_the_card_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "4,5")
    monkeypatch.setenv("HLS_MODULE_ID", "0")
    card = Hpu(1)
    assert str(card) == "hpu:1"
    assert card.torch_device == torch.device("hpu"), "torch's number of the only card of a process is 0"
    assert card.names() == ["hpu:1"]
    Hpu().make_current()
    assert os.environ["HLS_MODULE_ID"] == "0"
    card.make_current()
    assert os.environ["HLS_MODULE_ID"] == "5"
    with pytest.raises(RequestError, match="no device hpu:2: HABANA_VISIBLE_MODULES=4,5 names 2 cards"):
        Hpu(2).make_current()
    with pytest.raises(RequestError, match="several Gaudi cards need Intel's HCCL, which is missing"):
        Hpu.load_collectives(0, 2)


def test_provenance_says_whether_the_run_was_deterministic(tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm", "--deterministic").status == 0
    (record,) = Store(tmp_path).records()
    assert record.provenance["deterministic"] is True


@pytest.mark.cuda
@pytest.mark.parametrize("method", Registry().names("method"))
@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_an_interrupted_run_gives_the_same_bits_on_cuda(method: str, optimizer: str, tmp_path: Path) -> None:
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

"""GPUs that torch calls CUDA."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from plastibench.devices.accelerator import Accelerator
from plastibench.devices.cuda_graphs import CudaGraphs, release_idle_pools
from plastibench.devices.device import SmallConvolution, has_volumes
from plastibench.devices.graph_capture import GraphCapturer
from plastibench.errors import RequestError
from plastibench.system import energy

MPS_ADVICE = (
    "runs that share a GPU take turns: after `nvidia-cuda-mps-control -d` their kernels overlap, "
    "and four runs train 1.5 times as many images a second as one"
)
RUNS_WITH_MPS = 4
"""Runs of ResNet-18 that fill a GPU (results/gpu.md); without MPS, one does as much as several."""


def mps_is_on() -> bool:
    """Return whether NVIDIA's Multi-Process Service is there: its control daemon has a pipe of this name."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control").exists()


class Cuda(Accelerator):
    """An NVIDIA (or, through ROCm, AMD) GPU."""

    device_type = "cuda"
    cluster_resource: ClassVar[str | None] = "GPU"
    collectives = "nccl"
    visible_variable: ClassVar[str | None] = "CUDA_VISIBLE_DEVICES"
    small_convolution: ClassVar[SmallConvolution] = "library"
    casts_together: ClassVar[bool] = True
    compiles = False
    """Whether passes of whole batches are compiled, and their kernels timed."""

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why CUDA cannot be used here, or None if it can."""
        return None if torch.cuda.is_available() else "torch sees no CUDA device on this machine"

    @classmethod
    def supported_precisions(cls) -> tuple[str, ...]:
        """Return the precisions that recipes may ask for, TF32 among them."""
        return ("fp32", "tf32", "bf16")

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return channels last, the memory format of tensor cores, if the model can have it."""
        return torch.contiguous_format if has_volumes(model) else torch.channels_last

    def default_num_processes(self) -> int:
        """Return one for each GPU, or several if their kernels can overlap."""
        return len(self.names()) * (RUNS_WITH_MPS if mps_is_on() else 1)

    def is_deterministic(self) -> bool:
        """Return whether torch was told to use deterministic kernels only."""
        return torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark

    def use_deterministic_algorithms(self) -> None:
        """Set torch, cuDNN and cuBLAS; operations without a deterministic kernel raise from now on."""
        # cuBLAS reads it at its first use; without it torch refuses to multiply matrices.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)

    @contextmanager
    def benchmarking(self, *, enabled: bool) -> Iterator[None]:
        """Let cuDNN time its kernels if passes are compiled, too; which is fastest may vary."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = enabled and self.compiles
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    def use_compiler(self) -> None:
        """Compile passes. Raises RequestError with deterministic algorithms: timed kernels may vary."""
        if torch.are_deterministic_algorithms_enabled():
            raise RequestError("--compile chooses kernels by their times, which --deterministic excludes")
        self.compiles = True

    def compile_backend(self) -> str | None:
        """Return Inductor, which fuses what lies between convolutions, if passes are to be compiled."""
        return "inductor" if self.compiles else None

    def compile_options(self) -> dict[str, Any]:
        """Let small kernels of the same form, such as casts of weights, be one kernel."""
        return {"combo_kernels": True}

    def graph_capturer(self) -> GraphCapturer | None:
        """Return CUDA graphs: Python launches the kernels of a small batch slower than they run."""
        return CudaGraphs(self.torch_device)

    def make_lr(self, lr: float) -> float | torch.Tensor:
        """Return a tensor on the GPU."""
        return torch.tensor(lr, device=self.torch_device)

    def read_energy(self) -> energy.Reading | None:
        """Read the GPU's counter through NVML."""
        return energy.read_nvml(self.torch_device)

    def total_memory(self) -> int:
        """Return the memory of the GPU."""
        return int(torch.cuda.get_device_properties(self.torch_device).total_memory)

    def sharing_advice(self) -> str | None:
        """Return how to start NVIDIA's MPS, without which the kernels of processes take turns."""
        return None if mps_is_on() or torch.version.hip else MPS_ADVICE

    def limit_memory(self, num_processes: int) -> None:
        """Limit torch's allocator; what the driver needs for each process comes on top."""
        torch.cuda.set_per_process_memory_fraction(1 / num_processes, self.torch_device.index)

    def empty_cache(self) -> None:
        """Empty the cache of torch's allocator, and release the memory that new graphs would use again."""
        release_idle_pools(self.torch_device)
        torch.cuda.empty_cache()

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """Return the context of a forward pass; TF32 is a global switch, set each time."""
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        return super().autocast(precision)

"""GPUs that torch calls CUDA."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import nn

from plastibench.devices.device import Device
from plastibench.system import energy

if TYPE_CHECKING:
    from plastibench.devices.graph_capture import GraphCapturer


class Cuda(Device):
    """An NVIDIA (or, through ROCm, AMD) GPU."""

    device_type = "cuda"

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return channels last: the layout of tensor cores."""
        return torch.channels_last

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why CUDA cannot be used here, or None."""
        return None if torch.cuda.is_available() else "torch sees no CUDA device on this machine"

    @classmethod
    def device_count(cls) -> int:
        """Return how many GPUs torch sees."""
        return torch.cuda.device_count()

    @classmethod
    def supported_precisions(cls) -> tuple[str, ...]:
        """Return the precisions that exist here."""
        return ("fp32", "tf32", "bf16")

    def name(self) -> str:
        """Return the GPU's name."""
        return torch.cuda.get_device_name(self.torch_device)

    def manual_seed(self, seed: int) -> None:
        """Seed the CPU and every GPU."""
        torch.manual_seed(seed)

    def rng_state(self) -> list[torch.Tensor]:
        """Return the states of the CPU's stream and the GPU's."""
        return [*super().rng_state(), torch.cuda.get_rng_state(self.torch_device)]

    def set_rng_state(self, states: list[torch.Tensor]) -> None:
        """Set the CPU's stream and the GPU's."""
        super().set_rng_state(states)
        torch.cuda.set_rng_state(states[1], self.torch_device)

    def is_deterministic(self) -> bool:
        """Return whether torch was told to use such kernels alone."""
        return torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark

    def use_deterministic_algorithms(self) -> None:
        """Tell torch, cuDNN and cuBLAS; an operation without such a kernel raises an error from now on."""
        # cuBLAS reads it when it is first used: before that, torch refuses to multiply matrices.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)

    def synchronize(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self.torch_device)

    def graph_capturer(self) -> GraphCapturer | None:
        """Return CUDA graphs: Python launches the kernels of a small batch slower than they run."""
        from plastibench.devices.cuda_graphs import CudaGraphs

        return CudaGraphs(self.torch_device)

    def make_lr(self, rate: float) -> float | torch.Tensor:
        """Return a tensor on the GPU."""
        return torch.tensor(rate, device=self.torch_device)

    def read_energy(self) -> energy.Reading | None:
        """Read the GPU's counter through NVML."""
        return energy.read_nvml(self.torch_device)

    def max_memory_allocated(self) -> int | None:
        """Return the most bytes allocated since the last reset."""
        return torch.cuda.max_memory_allocated(self.torch_device)

    def reset_peak_memory_stats(self) -> None:
        """Start a new peak."""
        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def limit_memory(self, runs: int) -> None:
        """Limit torch's allocator; what the driver holds for each process comes on top."""
        torch.cuda.set_per_process_memory_fraction(1 / runs, self.torch_device.index)

    def empty_cache(self) -> None:
        """Empty torch's cache."""
        torch.cuda.empty_cache()

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """Return the context of a forward pass; TF32 is a global switch, set to match each time."""
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        return super().autocast(precision)

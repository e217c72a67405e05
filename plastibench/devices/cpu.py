"""The processor."""

from typing import ClassVar

import torch
from torch import nn

from plastibench.devices.device import Device, SmallConvolution, has_volumes
from plastibench.errors import count
from plastibench.system import energy, memory
from plastibench.system.cpu import max_threads, num_cores, processor_name


class Cpu(Device):
    """The processor."""

    device_type = "cpu"
    matmul_size = 2048
    process_memory = 0  # runs are known by the memory of their whole process
    small_convolution: ClassVar[SmallConvolution] = "matmul_bf16"

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return channels last, except for models that torch cannot store or compute so.

        torch 2.15 writes out of bounds in the backward pass of a strided 1x1 convolution of
        fewer than 16 channels on images of 56x56 and more, in channels last alone.
        """
        narrow = any(
            isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
            for m in model.modules()
        )
        return torch.contiguous_format if narrow or has_volumes(model) else torch.channels_last

    def names_of_ranks(self, size: int) -> list[str]:
        """Return the same device for each process: they share its cores."""
        return [str(self)] * size

    def name(self) -> str:
        """Return the name of the processor and the number of cores that this process may use."""
        return f"{processor_name()}, {count(num_cores(), 'core')}"

    def total_memory(self) -> int | None:
        """Return the bytes of the machine's memory, or those of this container or job."""
        return memory.total_memory()

    def read_energy(self) -> energy.Reading | None:
        """Read the counters of the processor's packages."""
        return energy.read_rapl()

    def default_num_processes(self) -> int:
        """Return the number of cores: small runs gain more from processes than from threads."""
        return num_cores()

    def num_threads(self, num_processes: int) -> int:
        """Return each process's share of the cores, or fewer if OMP_NUM_THREADS allows fewer."""
        return max(1, min(num_cores() // num_processes, max_threads()))

    def manual_seed(self, seed: int) -> None:
        """Seed the CPU's generator alone: `torch.manual_seed` keeps a traceback for every kind of device."""
        torch.default_generator.manual_seed(seed)

    def is_deterministic(self) -> bool:
        """Return True: with the same number of threads, the processor always gives the same bits."""
        return True

    def use_deterministic_algorithms(self) -> None:
        """Do nothing: the algorithms are deterministic."""

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return the model in its fastest form; from now on this process keeps the memory it frees."""
        memory.keep_freed_memory()
        return super().prepare_model(model)

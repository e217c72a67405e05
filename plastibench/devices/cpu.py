"""The processor."""

from __future__ import annotations

import torch
from torch import nn

from plastibench.devices.device import Device
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.system import energy, malloc
from plastibench.system.cpu import num_cores, processor_name


class Cpu(Device):
    """The processor."""

    device_type = "cpu"
    matmul_size = 2048

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return channels last, except for models on which torch's kernel for it fails.

        torch 2.15 writes outside its memory in the backward pass of a strided 1x1 convolution of
        fewer than 16 channels on images of 56x56 and more, in this layout alone.
        """
        narrow = any(
            isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
            for m in model.modules()
        )
        return torch.contiguous_format if narrow else torch.channels_last

    def name(self) -> str:
        """Return the name of the processor and how many cores this process may use."""
        return f"{processor_name()}, {num_cores()} cores"

    def read_energy(self) -> energy.Reading | None:
        """Read the counters of the processor's packages."""
        return energy.read_rapl()

    def default_num_processes(self) -> int:
        """Return the number of cores: small runs gain more from company than from threads."""
        return num_cores()

    def is_deterministic(self) -> bool:
        """Return True: with as many threads, the processor always does the same."""
        return True

    def use_deterministic_algorithms(self) -> None:
        """Do nothing."""

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return the model in its fastest layout and form; from now on this process holds its memory."""
        malloc.keep_freed_memory()
        for part in model.modules():
            if isinstance(part, Conv3x3):
                part.gathers = True  # oneDNN, torch's library here, is slow at these
        return super().prepare_model(model)

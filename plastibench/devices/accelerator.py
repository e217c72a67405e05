"""Devices with a module of their own in torch, such as torch.cuda."""

from typing import Any

import torch

from plastibench.devices.device import Device


class Accelerator(Device):
    """A device that torch controls through a module named like its type."""

    @classmethod
    def module(cls) -> Any:  # noqa: ANN401 - torch's own type
        """Return torch's module for this type of device."""
        return torch.get_device_module(cls.device_type)

    @classmethod
    def device_count(cls) -> int:
        """Return the number of devices that torch finds."""
        return int(cls.module().device_count())

    def name(self) -> str:
        """Return the name of the hardware."""
        return str(self.module().get_device_name(self.torch_device))

    def manual_seed(self, seed: int) -> None:
        """Seed the CPU and all devices of this type: torch.manual_seed does not reach every vendor's."""
        super().manual_seed(seed)
        self.module().manual_seed_all(seed)

    def rng_state(self) -> list[torch.Tensor]:
        """Return the states of the CPU's generator and the device's."""
        return [*super().rng_state(), self.module().get_rng_state(self.torch_device)]

    def set_rng_state(self, states: list[torch.Tensor]) -> None:
        """Restore the CPU's generator and the device's."""
        super().set_rng_state(states)
        self.module().set_rng_state(states[1], self.torch_device)

    def make_current(self) -> None:
        """Let libraries that are not told a device use this one, in this process."""
        if self.index is not None:
            self.module().set_device(self.torch_device)

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        self.module().synchronize(self.torch_device)

    def max_memory_allocated(self) -> int | None:
        """Return the peak of torch's allocator in bytes."""
        return int(self.module().max_memory_allocated(self.torch_device))

    def reset_peak_memory_stats(self) -> None:
        """Start a new measurement of the peak memory."""
        self.module().reset_peak_memory_stats(self.torch_device)

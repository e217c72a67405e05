"""Device slots: which device each process of this machine uses, and how many share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plastibench.devices import Device

USABLE_MEMORY = 0.95
"""Fraction of a device's memory that runs may plan with."""


@dataclass(frozen=True)
class Slot:
    """Where one process executes its runs."""

    device: str
    """Name of the device, such as cpu or cuda:1."""
    num_processes: int
    """Processes that share it, this one included."""


def device_slots(device: Device, num_processes: int) -> list[Slot]:
    """Return a slot for each process: they are dealt out over the devices that `device` stands for."""
    names = device.names()
    used = [names[position % len(names)] for position in range(num_processes)]
    return [Slot(name, used.count(name)) for name in used]


def fitting_processes(device: Device, peak_memory: int | None) -> int | None:
    """Return how many runs with this peak of memory fit on the devices; None if that is not known."""
    total = device.total_memory()
    if total is None or not peak_memory:
        return None
    each = peak_memory + device.process_memory
    return max(1, int(USABLE_MEMORY * total) // each) * len(device.names())

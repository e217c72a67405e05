"""Energy counters of the hardware: read before and after, never estimated. Where there is none: None."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

POWERCAP = Path("/sys/class/powercap")


class Counter(NamedTuple):
    """A counter of joules that begins anew at `range`; 0 where it does not."""

    joules: float
    range: float


Reading = tuple[Counter, ...]


def joules_between(before: Reading | None, after: Reading | None) -> float | None:
    """Return the joules between two readings, or None where there is no counter.

    A counter that began anew in between is taken to have done so once.
    """
    if before is None or after is None or len(before) != len(after):
        return None
    total = 0.0
    for one, two in zip(before, after, strict=True):
        more = two.joules - one.joules
        total += more + two.range if more < 0 else more
    return total


def read_rapl(root: Path = POWERCAP) -> Reading | None:
    """Read the packages' RAPL counters of Linux, or return None where there are none or they are secret.

    They count whatever runs on the package, not this process alone.
    """
    try:
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        found = tuple(
            Counter(_microjoules(zone / "energy_uj"), _microjoules(zone / "max_energy_range_uj"))
            for zone in zones
        )
    except (OSError, ValueError):
        return None
    return found or None


def _microjoules(path: Path) -> float:
    return int(path.read_text(encoding="ascii")) / 1e6


def read_nvml(device: torch.device) -> Reading | None:
    """Read an NVIDIA GPU's counter (NVML, since the driver was loaded), or return None."""
    import torch

    read = _nvml(torch.cuda.current_device() if device.index is None else device.index)
    return None if read is None else (Counter(read(), 0.0),)


@cache
def _nvml(index: int) -> Callable[[], float] | None:
    """Return what reads the counter of the GPU that torch numbers `index`; Volta and later have one."""
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        # By its uuid: NVML and torch may number the GPUs differently.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no driver, no counter: NVML has an error class for each
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

"""Energy counters of the hardware, read before and after work and never estimated; None if there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

POWERCAP = Path("/sys/class/powercap")


class Counter(NamedTuple):
    """A counter of joules that wraps around at `range`, or never if it is 0."""

    joules: float
    range: float


Reading = tuple[Counter, ...]


def joules_between(before: Reading | None, after: Reading | None) -> float | None:
    """Return the joules between two readings, or None if there is no counter.

    A counter that wrapped around in between is taken to have done so once.
    """
    if before is None or after is None or len(before) != len(after):
        return None
    differences = (end.joules - start.joules for start, end in zip(before, after, strict=True))
    return sum(joules + end.range * (joules < 0) for joules, end in zip(differences, after, strict=True))


def read_rapl(root: Path = POWERCAP) -> Reading | None:
    """Read the RAPL counters of the processor's packages on Linux, or return None if they cannot be read.

    They count everything that runs on the package, not this process alone.
    """
    try:
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        counters = tuple(
            Counter(*(_read_joules(zone / name) for name in ("energy_uj", "max_energy_range_uj")))
            for zone in zones
        )
    except (OSError, ValueError):
        return None
    return counters or None


def _read_joules(path: Path) -> float:
    return int(path.read_text(encoding="ascii")) / 1e6


def read_nvml(device: torch.device) -> Reading | None:
    """Read the counter of an NVIDIA GPU (NVML, since the driver was loaded), or return None."""
    import torch

    read = _nvml_counter(torch.cuda.current_device() if device.index is None else device.index)
    return None if read is None else (Counter(read(), 0.0),)


@cache
def _nvml_counter(index: int) -> Callable[[], float] | None:
    """Return what reads the counter of the GPU that torch numbers `index`; Volta and later have one."""
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        # By uuid: NVML and torch may number the GPUs differently.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no driver, no counter: NVML has an error class for each
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

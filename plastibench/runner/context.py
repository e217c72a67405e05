"""TODO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunContext:
    """Where runs happen, as plain values that travel to other processes."""

    home: Path
    data: Path
    cache: Path
    device: str
    plugins: tuple[Path, ...] = ()
    threads: int | None = None
    """Threads of a run on the CPU; None leaves torch's own choice."""
    together: int = 1
    """How many processes run on the device at once: each holds its part of the memory and no more."""
    interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    deterministic: bool = False
    """Whether a device that can give the same bits for the same work is told to."""

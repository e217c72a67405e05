"""What a run costs, counted where the work is done; the remedy's own work is kept apart.

docs/cost.md says what each number holds. None is "absent": nothing counted it. It is never 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from plastibench.system.energy import joules_between

if TYPE_CHECKING:
    from plastibench.devices import Device
    from plastibench.training.flops import Flops

Phase = Literal["train", "remedy", "evaluation"]
PHASES: tuple[Phase, ...] = ("train", "remedy", "evaluation")


@dataclass
class Cost:
    """Counts of one stage. A pass is counted in examples, whatever the batch it came in."""

    steps: int = 0
    """Updates of the weights; SAM's two passes are one step."""
    samples: int = 0
    """Training examples drawn for those updates."""
    train_passes: int = 0
    """Examples taken forward and backward for updates; SAM takes each one twice."""
    second_passes: int = 0
    """Those among `train_passes` that are not the first of their step, such as SAM's."""
    remedy_passes: int = 0
    """Examples taken forward and backward by the remedy itself."""
    remedy_forwards: int = 0
    """Examples taken forward only by the remedy itself."""
    evaluation_forwards: int = 0
    """Examples taken forward to measure accuracy."""
    train_flops: int | None = 0
    """Of matrix products, convolutions and attention in `train_passes`; a multiply-add is two."""
    remedy_flops: int | None = 0
    """The same in the remedy's passes and forwards, and what its hooks add."""
    evaluation_flops: int | None = 0
    """The same in `evaluation_forwards`."""
    elementwise_flops: int | None = 0
    """All else in all passes and in the optimizer's updates, one for each element written."""
    train_seconds: float = 0.0
    remedy_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    train_memory: int | None = None
    """The most bytes held on the device while training."""
    remedy_memory: int | None = None
    evaluation_memory: int | None = None
    train_energy: float | None = None
    """Joules that the device's own counter went on by while training."""
    remedy_energy: float | None = None
    evaluation_energy: float | None = None

    def as_dict(self) -> dict[str, int | float | None]:
        """Return the counts by name."""
        return asdict(self)

    def peak_memory(self) -> int | None:
        """Return the most bytes held on the device in any phase, or None where that is not known."""
        peaks = (self.train_memory, self.remedy_memory, self.evaluation_memory)
        return max((peak for peak in peaks if peak is not None), default=None)

    def matrix_flops(self) -> int | None:
        """Return the FLOPs of all phases together, without the elementwise ones."""
        parts = (self.train_flops, self.remedy_flops, self.evaluation_flops)
        return None if None in parts else sum(part for part in parts if part is not None)

    def add_flops(self, phase: Phase, work: Flops | None) -> None:
        """Add the FLOPs of a phase; None, for what could not be counted, makes the sum absent."""
        for name, more in (
            (f"{phase}_flops", work and work.matrix),
            ("elementwise_flops", work and work.elementwise),
        ):
            known = getattr(self, name)
            setattr(self, name, None if known is None or more is None else known + more)

    @contextmanager
    def measure(self, phase: Phase, device: Device) -> Iterator[None]:
        """Add the seconds and joules spent inside to those of `phase`, and note its peak memory.

        Waits for the device at both ends, so that no phase pays for another one's work.
        """
        device.synchronize()
        device.reset_peak_memory_stats()
        energy, start = device.read_energy(), perf_counter()
        try:
            yield
        finally:
            device.synchronize()
            setattr(self, f"{phase}_seconds", getattr(self, f"{phase}_seconds") + perf_counter() - start)
            self._add_energy(phase, joules_between(energy, device.read_energy()))
            self._note_memory(phase, device.max_memory_allocated())

    def _add_energy(self, phase: Phase, joules: float | None) -> None:
        if joules is not None:
            setattr(self, f"{phase}_energy", (getattr(self, f"{phase}_energy") or 0.0) + joules)

    def _note_memory(self, phase: Phase, peak: int | None) -> None:
        if peak is not None:
            setattr(self, f"{phase}_memory", max(peak, getattr(self, f"{phase}_memory") or 0))

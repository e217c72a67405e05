"""What a run costs, counted where the work is done; the remedy's own work is kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter


@dataclass
class Cost:
    """Counts of one stage. A pass is counted in examples, whatever the batch it came in."""

    steps: int = 0
    """Updates of the weights; SAM's two passes are one step."""
    samples: int = 0
    """Training examples drawn for those updates."""
    train_passes: int = 0
    """Examples taken forward and backward for updates; SAM takes each one twice."""
    remedy_passes: int = 0
    """Examples taken forward and backward by the remedy itself."""
    remedy_forwards: int = 0
    """Examples taken forward only by the remedy itself."""
    evaluation_forwards: int = 0
    """Examples taken forward to measure accuracy."""
    train_seconds: float = 0.0
    remedy_seconds: float = 0.0
    evaluation_seconds: float = 0.0

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts by name."""
        return asdict(self)

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Add the seconds spent inside to `<what>_seconds`. The caller waits for the device inside."""
        start = perf_counter()
        try:
            yield
        finally:
            name = f"{what}_seconds"
            setattr(self, name, getattr(self, name) + perf_counter() - start)

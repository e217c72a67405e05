"""Where the seconds of a finished run went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from plastibench.store.record import Record
from plastibench.training.cost import PHASES


@dataclass(frozen=True)
class TimeBreakdown:
    """Seconds per stage of a run, averaged over its stages."""

    train: float
    remedy: float
    evaluation: float
    store: float
    """Writing results to disk."""
    rest: float
    """Reading data, building models and everything else."""

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the breakdown of a finished run."""
        parts = {phase: float(sum(row[f"{phase}_seconds"] for row in record.stages)) for phase in PHASES} | {
            "store": float(record.provenance["store_seconds"])
        }
        parts["rest"] = max(0.0, float(record.provenance["seconds"]) - sum(parts.values()))
        return cls(**{name: seconds / len(record.stages) for name, seconds in parts.items()})

    def fractions(self) -> dict[str, float]:
        """Return each part as a fraction of the whole."""
        parts = asdict(self)
        return {name: seconds / sum(parts.values()) for name, seconds in parts.items()}

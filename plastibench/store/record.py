"""A finished run, and the text of its file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.run_metrics import RunMetrics, total_cost

STATUSES = ("done", "diverged")
WORDS = ("stop", "data")
"""Fields of a row that are text; all others are numbers, or None."""


@dataclass(frozen=True)
class Record:
    """A finished run."""

    spec: Spec
    status: str
    """done or diverged."""
    stages: list[dict[str, Any]]
    """One row a stage: the fields of a StageResult."""
    provenance: dict[str, Any]
    """Versions, commit, device, host, data checksum, when, how many attempts."""

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.spec.id

    def with_provenance(self, **more: object) -> Record:
        """Return the same with more in its provenance."""
        return replace(self, provenance={**self.provenance, **more})

    @cached_property
    def condition_id(self) -> str:
        """Return what it has in common with the runs that it may be compared with."""
        return self.spec.condition_id()

    @cached_property
    def hardware(self) -> str:
        """Return the device and the number of threads, which seconds depend on."""
        return hardware(self.provenance)

    @cached_property
    def metrics(self) -> RunMetrics:
        """Return the accuracies and sums of a run that was tested: not of a sealed one."""
        return RunMetrics(
            seed=self.spec.seed,
            accuracies=tuple(100 * float(stage["test_accuracy"]) for stage in self.stages),
            steps=tuple(stage["steps"] for stage in self.stages),
            passes=tuple(stage["train_passes"] + stage["remedy_passes"] for stage in self.stages),
            cost=total_cost(self.stages),
            hardware=self.hardware,
        )


def hardware(provenance: Mapping[str, Any]) -> str:
    """Return the device and the number of threads that a record's provenance names."""
    threads = provenance.get("threads")
    return f"{provenance.get('device')}" + (f", {threads} threads" if threads else "")


def as_text(record: Record) -> str:
    """Return the file of a run."""
    plain: dict[str, Any] = {
        "id": record.id,
        "spec": record.spec.as_dict(),
        "status": record.status,
        "stages": record.stages,
        "provenance": record.provenance,
    }
    plain["digest"] = digest(plain)
    return json.dumps(plain, sort_keys=True, indent=1, allow_nan=False) + "\n"


def parse(text: str, run: str) -> Record:
    """Read the file of a run. Raises ValueError, or what reading strange JSON raises, where it is damaged."""
    plain = json.loads(text)
    found = plain.pop("digest", None)
    if found is not None and found != digest(plain):
        raise ValueError("it was changed after it was written")
    record = Record(
        Spec.from_dict(plain["spec"]), plain["status"], plain["stages"], dict(plain["provenance"])
    )
    if record.id != plain["id"] or run != record.id:
        raise ValueError("its id is not that of its description")
    _check_rows(record)
    if record.status not in STATUSES:
        raise ValueError(f"its status is {record.status!r}, which is none of {', '.join(STATUSES)}")
    if not record.stages or [row["index"] for row in record.stages] != list(range(len(record.stages))):
        raise ValueError("its stages are not complete")
    return record


def _check_rows(record: Record) -> None:
    """Raise ValueError where a number is none: such a record was made by hand, and no table can be."""
    if all(map(_is_plain, record.stages)):
        return
    odd = [
        f"{name} is {value!r}" for row in record.stages for name, value in row.items() if _odd(name, value)
    ]
    if odd:
        raise ValueError(odd[0][:80])


def _is_plain(row: Mapping[str, object]) -> bool:
    """Return whether a row is surely sound, without a look at each value: nearly all are."""
    numbers = [value for name, value in row.items() if name not in WORDS]
    words = [row[name] for name in WORDS if name in row]
    floats = [value for value in numbers if type(value) is float]
    kinds = {*map(type, numbers)} <= {int, float, type(None)} and {*map(type, words)} <= {str}
    return kinds and all(map(math.isfinite, floats))


def _odd(name: str, value: object) -> bool:
    if name in WORDS or isinstance(value, bool):
        return not isinstance(value, str)
    return not isinstance(value, int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    )


def digest(plain: Mapping[str, Any]) -> str:
    """Return what a run file says of its own content: 16 hexadecimal digits."""
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]

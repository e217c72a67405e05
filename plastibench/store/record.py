"""The record of a finished run, and its file format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from plastibench.errors import DataError, count
from plastibench.experiments.spec import Spec, canonical
from plastibench.store.run_metrics import RunMetrics, total_cost

STATUSES = ("done", "diverged")
TEXT_COLUMNS = ("stop", "data")
"""Columns of a stage that hold text; all others hold numbers or None."""

TIMES = ("started", "finished")
"""Fields of the provenance that hold a time (ISO 8601)."""
PROVENANCE_TYPES: Mapping[str, tuple[type, ...]] = {
    "threads": (int,),
    "devices": (int,),
    "attempts": (int,),
    "process_memory": (int,),
    "deterministic": (bool,),
    "files": (dict,),
    "units": (dict,),
    "sessions": (list,),
    **dict.fromkeys(("seconds", "checkpoint_seconds", "store_seconds"), (float, int)),
}
"""Types of the fields of the provenance; all others hold text or None."""

DATA_DIGITS = 12
"""Digits of the data's checksum that are shown."""

StageRow = dict[str, Any]
"""The fields of a StageResult."""


@dataclass(frozen=True)
class RunSummary:
    """What tables need of a run, computed when its file was read."""

    condition_id: str
    variant_id: str
    metrics: RunMetrics | None
    """None for a run that no average includes."""


@dataclass(frozen=True)
class Record:
    """A finished run."""

    spec: Spec
    status: str
    """One of `STATUSES`."""
    stages: Sequence[StageRow]
    provenance: Mapping[str, Any]
    """Versions, commit, device, host, checksum of the data, times, number of attempts."""
    summary: RunSummary | None = None
    """Saved results, or None to compute them from the stages."""

    @property
    def id(self) -> str:
        """Return the id of the run."""
        return self.spec.id

    @property
    def data(self) -> str | None:
        """Return the checksum of the data that the run was made on; None if an old record has none."""
        return self.provenance.get("data")

    @property
    def files(self) -> Mapping[str, str]:
        """Return the digests of the files that the run's plug-ins have read, by path."""
        files: Mapping[str, str] = self.provenance.get("files", {})
        return files

    @property
    def units(self) -> Mapping[str, str]:
        """Return the units of what the run's probes measure, by column, without those of single layers."""
        units: Mapping[str, str] = self.provenance.get("units", {})
        return units

    @cached_property
    def condition_id(self) -> str:
        """Return what the run shares with those that it may be compared with."""
        return self.spec.condition_id if self.summary is None else self.summary.condition_id

    @cached_property
    def variant_id(self) -> str:
        """Return what the run shares with those that differ only in the seed."""
        return self.spec.variant_id if self.summary is None else self.summary.variant_id

    @cached_property
    def hardware(self) -> str:
        """Return the device and the number of threads, which times depend on."""
        return hardware_name(self.provenance)

    @cached_property
    def metrics(self) -> RunMetrics:
        """Return accuracies and total cost. The run must have been tested."""
        if self.summary is not None and self.summary.metrics is not None:
            return self.summary.metrics
        return RunMetrics(
            seed=self.spec.seed,
            accuracies=tuple(100 * float(stage["test_accuracy"]) for stage in self.stages),
            steps=tuple(stage["steps"] for stage in self.stages),
            passes=tuple(stage["train_passes"] + stage["remedy_passes"] for stage in self.stages),
            cost=total_cost(self.stages),
            hardware=self.hardware,
            same_test=len({stage.get("num_test") for stage in self.stages}) == 1
            and not self.spec.shifts_targets,
            weights=self.provenance.get("weights") or "",
        )

    def with_provenance(self, **fields: object) -> Record:
        """Return a copy with more fields in its provenance."""
        return replace(self, provenance={**self.provenance, **fields})

    @property
    def digest(self) -> str:
        """Return the digest of the record's content, as in run.json."""
        return content_digest(self._fields())

    def to_json(self) -> str:
        """Return the text of run.json."""
        fields = {**self._fields(), "digest": self.digest}
        return json.dumps(fields, sort_keys=True, indent=1, allow_nan=False) + "\n"

    def _fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "spec": self.spec.as_dict(),
            "status": self.status,
            "stages": list(self.stages),
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, text: str, run: str) -> Record:
        """Parse the run.json of a run. Raises ValueError, KeyError or TypeError if it is damaged."""
        fields = json.loads(text)
        digest = fields.pop("digest", None)
        if digest is not None and digest != content_digest(fields):
            raise ValueError("it was changed after it was written")
        record = cls(
            Spec.from_dict(fields["spec"]), fields["status"], fields["stages"], dict(fields["provenance"])
        )
        check_provenance(record.provenance)
        if not run == record.id == fields["id"]:
            raise ValueError("its id is not that of its description")
        if record.status not in STATUSES:
            raise ValueError(f"its status is {record.status!r}; it must be one of {', '.join(STATUSES)}")
        if not record.stages or [row["index"] for row in record.stages] != list(range(len(record.stages))):
            raise ValueError("its stages are not complete")
        for row in record.stages:
            check_row(row)
        if len({row.get("data") for row in record.stages}) > 1:
            raise ValueError("its stages were trained on different data")
        return record


def other_data(what: str, data: str, found: str) -> DataError:
    """Return the error for what was done on other data than those found, such as "this run was made"."""
    return DataError(
        f"{what} on data {data[:DATA_DIGITS]}, but the data found here are {found[:DATA_DIGITS]}: give the "
        "data folder that was used (--data or PLASTIBENCH_DATA), or another home folder (--home) for the "
        "other data"
    )


def device_name(provenance: Mapping[str, Any]) -> str:
    """Return the device in a record's provenance, and how many of them trained the run if not one."""
    devices = provenance.get("devices", 1)
    return f"{devices} x {provenance.get('device')}" if devices != 1 else f"{provenance.get('device')}"


def hardware_name(provenance: Mapping[str, Any]) -> str:
    """Return the device and the number of threads in a record's provenance."""
    threads = provenance.get("threads")
    return device_name(provenance) + (f", {count(threads, 'thread')}" if threads else "")


def check_row(row: Mapping[str, object]) -> None:
    """Raise ValueError if a value of a stage has the wrong type or is not finite."""
    for name, value in row.items():
        if name in TEXT_COLUMNS:
            valid = type(value) is str
        else:
            valid = value is None or (isinstance(value, int | float) and _is_finite(value))
            valid = valid and not isinstance(value, bool)
        if not valid:
            raise ValueError(f"{name} is {value!r}"[:80])


def _is_finite(value: float) -> bool:
    """Return whether a number is finite as a float, which is what computations make of it."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def check_provenance(provenance: Mapping[str, object]) -> None:
    """Raise ValueError if a field of a record's provenance has the wrong type."""
    for name, value in provenance.items():
        types = PROVENANCE_TYPES.get(name, (str, type(None)))
        valid = type(value) in types
        if name in TIMES and isinstance(value, str):
            datetime.fromisoformat(value)
        if name in ("files", "units") and isinstance(value, dict):
            valid = all(isinstance(text, str) for text in value.values())
        if not valid:
            raise ValueError(f"{name} is {value!r}"[:80])


def content_digest(fields: Mapping[str, Any]) -> str:
    """Return the digest of a run file's content: 16 hexadecimal digits."""
    return hashlib.sha256(canonical(fields).encode()).hexdigest()[:16]

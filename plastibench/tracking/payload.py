"""How a run looks in MLflow, as plain values: tags, parameters, points of curves, sums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from plastibench.analysis.labels import setting_label
from plastibench.experiments.spec import Spec, canonical
from plastibench.plugins.values import show
from plastibench.store.record import Record
from plastibench.store.run_metrics import SECONDS, total_cost

Rows = Sequence[Mapping[str, Any]]
LONGEST_VALUE = 5_000
"""MLflow takes 6,000 characters of a parameter and 8,000 of a tag."""
LONGEST_DIGEST = 36

CURVES = (
    "test_accuracy",
    "validation_accuracy",
    "train_accuracy",
    "test_loss",
    "train_loss",
    "epochs",
    "steps",
    "train_passes",
    "remedy_passes",
    "train_seconds",
    "remedy_seconds",
    "peak_memory",
)
"""Metrics with one point a stage. Few names: MLflow's page gets slow with many."""
SUMS = ("steps", "passes", "flops", "seconds", "energy", "peak_memory")
"""Costs of a whole run that are shown, each as total_NAME."""
ORIGIN = ("commit", "plastibench", "torch", "device", "host", "threads")
"""Of a record's provenance: tags, beside those that say what was run."""


@dataclass(frozen=True)
class MetricPoint:
    """One value of a curve."""

    name: str
    value: float
    step: int
    when: int
    """Milliseconds after the run's start: the same each time that the point is made."""


def points(rows: Rows, first: int = 0) -> list[MetricPoint]:
    """Return the points of the stages from `first` on; a value that is not there has none."""
    ends = accumulate(_seconds(row) for row in rows)
    return [
        MetricPoint(name, float(row[name]), int(row["index"]), int(1000 * end))
        for row, end in list(zip(rows, ends, strict=True))[first:]
        for name in (*CURVES, *probe_metrics(row))
        if row.get(name) is not None
    ]


def probe_metrics(row: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's measurements of probes, each `probe.measurement`."""
    return [name for name in row if "." in name]


def sums(rows: Rows) -> list[MetricPoint]:
    """Return what a whole run came to."""
    when, last = int(1000 * sum(map(_seconds, rows))), int(rows[-1]["index"])
    found: dict[str, float | None] = {f"total_{name}": total_cost(rows)[name] for name in SUMS}
    accuracies = [row["test_accuracy"] for row in rows if row.get("test_accuracy") is not None]
    if accuracies:
        found["test_accuracy_mean"] = sum(accuracies) / len(accuracies)
    return [MetricPoint(name, value, last, when) for name, value in found.items() if value is not None]


def _seconds(row: Mapping[str, Any]) -> float:
    return sum(float(row.get(name) or 0.0) for name in SECONDS)


def fingerprint(rows: Rows) -> str:
    """Return how many stages there are, and a digest of what they say."""
    return f"{len(rows)}:{hashlib.sha256(canonical(list(rows)).encode()).hexdigest()[:16]}"


def tags(spec: Spec) -> dict[str, str]:
    """Return what says which run it is."""
    return {
        "kind": "run",
        "method": spec.method.name,
        "task": spec.task.name,
        "model": spec.model.name,
        "seed": str(spec.seed),
        "regime": str(spec.task_settings.get("regime", "")),
        "run_id": spec.id,
        "spec_hash": hashlib.sha256(canonical(spec.as_dict()).encode()).hexdigest(),
        "condition_id": spec.condition_id,
        "setting": setting_label(spec)[:LONGEST_VALUE],
        "device_kind": spec.device,
    }


def origin(record: Record) -> dict[str, str]:
    """Return where a finished run's numbers come from."""
    known = {name: record.provenance.get(name) for name in ORIGIN}
    return {"status": record.status} | {
        name: str(value) for name, value in known.items() if value is not None
    }


def params(spec: Spec) -> dict[str, str]:
    """Return every setting, those of plug-ins under their names."""
    prefixed = (spec.method, *spec.probes)
    named = {f"{part.name}.{name}": value for part in prefixed for name, value in part.settings.items()}
    named |= {f"model.{name}": value for name, value in spec.model.settings.items()}
    named |= {f"task.{name}": value for name, value in spec.task_settings.items()}
    named |= {f"recipe.{name}": value for name, value in spec.recipe.items()}
    named |= {
        f"{probe.name}.{name}": value for probe in spec.probes for name, value in probe.settings.items()
    }
    named |= {"method": spec.method.name, "task": spec.task.name, "model": spec.model.name, "seed": spec.seed}
    return {name: text(value)[:LONGEST_VALUE] for name, value in named.items()}


def text(value: Any) -> str:  # noqa: ANN401 - a setting's value
    """Return a value with every digit of a number: these are searched and compared."""
    if isinstance(value, float):
        return repr(value)
    return show(value)


def batches(found: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Yield parts of what MLflow takes in one call."""
    return (found[start : start + size] for start in range(0, len(found), size))

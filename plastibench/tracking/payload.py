"""What MLflow shows of a run, as plain values: tags, parameters, metrics."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from plastibench.analysis.labels import setting_label
from plastibench.experiments.spec import Spec, canonical
from plastibench.plugins.values import show
from plastibench.store.record import Record
from plastibench.store.run_metrics import SECONDS, total_cost
from plastibench.store.tuned_settings import condition_id

Item = TypeVar("Item")
StageRows = Sequence[Mapping[str, Any]]

MAX_VALUE_LENGTH = 5_000
"""MLflow takes 6,000 characters of a parameter and 8,000 of a tag."""

STAGE_METRICS = (
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
"""Metrics with one value a stage. Few names: many slow MLflow's page down."""
TOTALS = ("steps", "passes", "flops", "seconds", "energy", "peak_memory")
"""Costs of a whole run, each shown as total_NAME."""
FORBIDDEN = re.compile(r"[^\w.: -]")
"""Characters that MLflow forbids in names, which measurements of a probe may have."""
PROVENANCE = ("commit", "plastibench", "torch", "device", "host", "threads", "data", "recipe_changes")
"""Fields of a record's provenance that become tags."""


class MetricPoint(NamedTuple):
    """One value of a metric, with the arguments of mlflow.entities.Metric in their order."""

    key: str
    value: float
    timestamp: int
    """Milliseconds since 1970, the same whenever the point is made: MLflow keeps one of equal points."""
    step: int


def stage_points(rows: StageRows, start_time: int, first: int = 0) -> list[MetricPoint]:
    """Return the metrics of the stages from `first` on; a missing value has no point."""
    ends = accumulate(_seconds(row) for row in rows)
    return [
        MetricPoint(
            FORBIDDEN.sub("_", name), float(row[name]), start_time + int(1000 * end), int(row["index"])
        )
        for row, end in list(zip(rows, ends, strict=True))[first:]
        for name in (*STAGE_METRICS, *_probe_metrics(row))
        if row.get(name) is not None
    ]


def _probe_metrics(row: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's measurements of probes, each `probe.measurement`, but of single layers."""
    return [name for name in row if "." in name and "[" not in name]


def total_points(rows: StageRows, start_time: int) -> list[MetricPoint]:
    """Return the metrics of a whole run."""
    end, step = start_time + int(1000 * sum(map(_seconds, rows))), int(rows[-1]["index"])
    costs = total_cost(rows)
    totals = {f"total_{name}": costs[name] for name in TOTALS}
    accuracies = [row["test_accuracy"] for row in rows if row.get("test_accuracy") is not None]
    if accuracies:
        totals["test_accuracy_mean"] = sum(accuracies) / len(accuracies)
    return [MetricPoint(name, value, end, step) for name, value in totals.items() if value is not None]


def _seconds(row: Mapping[str, Any]) -> float:
    return sum(float(row.get(name) or 0.0) for name in SECONDS)


def stages_digest(rows: StageRows) -> str:
    """Return the number of stages and a digest of their contents."""
    return f"{len(rows)}:{_digest(list(rows))}"


def record_digest(record: Record) -> str:
    """Return a digest of all that is shown of a finished run."""
    return _digest([record.spec.as_dict(), record.status, record.stages, record.provenance])


def _digest(content: Sequence[Any]) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def spec_tags(spec: Spec) -> dict[str, str]:
    """Return the tags that identify a run."""
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
        "setting": setting_label(spec)[:MAX_VALUE_LENGTH],
        "device_kind": spec.device,
    }


def provenance_tags(record: Record) -> dict[str, str]:
    """Return a finished run's status and the origin of its numbers."""
    origin = {name: record.provenance.get(name) for name in PROVENANCE}
    tags = {name: str(value) for name, value in origin.items() if value is not None}
    return {"status": record.status, "condition_id": condition_id(record), **tags}


def spec_params(spec: Spec) -> dict[str, str]:
    """Return every setting, those of plug-ins under their names."""
    settings = [(part.name, part.settings) for part in (spec.method, *spec.probes)]
    settings += [("model", spec.model.settings), ("task", spec.task_settings), ("recipe", spec.recipe)]
    params = {f"{prefix}.{name}": value for prefix, values in settings for name, value in values.items()}
    params |= {
        "method": spec.method.name,
        "task": spec.task.name,
        "model": spec.model.name,
        "seed": spec.seed,
    }
    return {name: format_param(value) for name, value in params.items()}


def format_param(value: Any) -> str:  # noqa: ANN401 - a setting's value
    """Return a value as text, with every digit of a number: parameters are searched and compared."""
    if isinstance(value, float):
        return repr(value)
    return show(value)[:MAX_VALUE_LENGTH]


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield parts of at most `size` items: MLflow limits what one call takes."""
    return (items[start : start + size] for start in range(0, len(items), size))


def milliseconds(time: str | datetime | None) -> int:
    """Return a time, or an ISO text, in milliseconds since 1970; 0 for None."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return 0 if time is None else int(time.timestamp() * 1000)

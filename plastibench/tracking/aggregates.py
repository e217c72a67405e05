"""What people compare: an MLflow run for each row of a leaderboard's tables, beside the runs it averages.

They are updated in place while runs finish: MLflow's page shows each with the values written last.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.errors import count
from plastibench.experiments.spec import canonical
from plastibench.tracking import payload
from plastibench.tracking.experiment import (
    AGGREGATE,
    AGGREGATE_DIGEST,
    AGGREGATE_KEY,
    AggregateRun,
    MlflowExperiment,
    home_tag,
)
from plastibench.tracking.page_view import VIEW_TAG, view_of_aggregates
from plastibench.tracking.payload import FORBIDDEN, MAX_VALUE_LENGTH, MetricPoint

if TYPE_CHECKING:
    from plastibench.tracking.writer import MlflowWriter

COSTS = ("steps", "passes", "flops", "seconds", "energy", "peak_memory")
"""Mean costs of a run, under the names that single runs have them by."""
DIGITS = 4
"""Of accuracies and gains in percent: the page shows every digit that a number has."""
MAX_PARAM_COLUMNS = 20
"""Settings of methods that the page shows without being asked: more columns are none that one reads."""


@dataclass(frozen=True)
class Aggregate:
    """A row of a table, as MLflow shows it."""

    table: ResultTable
    row: ResultRow

    @cached_property
    def key(self) -> str:
        """Return what stays the same while runs are added to the row."""
        record = self.row.records[0]
        method = record.spec.method
        identity = [record.condition_id, record.data, self.row.method, method.settings, method.code]
        return hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Return the name of the MLflow run; digits come before the letters that names of runs begin with."""
        return f"{count(len(self.row.metrics), 'seed')}: {self.row.method}"

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Return all values by name, accuracies and gains in percent; what is undefined is left out."""
        row = self.row
        values = {
            "n": float(len(row.metrics)),
            "diverged": float(row.num_diverged),
            **dict(_named("average_accuracy", row.average)),
            **dict(_named("last_accuracy", row.last)),
        }
        for reference, gain in row.gains.items():
            values |= dict(_named(f"gain_over_{reference}", gain.estimate))
            values[f"gain_over_{reference}_p"] = gain.p
        values |= {f"total_{name}": row.cost[name] for name in COSTS}
        values |= {f"relative_{name}": row.relative_cost.get(name) for name in ("passes", "flops", "seconds")}
        known = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        return {FORBIDDEN.sub("_", name): value for name, value in known.items()}

    @cached_property
    def params(self) -> dict[str, str]:
        """Return every setting, as single runs have them."""
        params = payload.spec_params(self.row.records[0].spec)
        return {name: value for name, value in params.items() if name != "seed"}

    @cached_property
    def tags(self) -> dict[str, str]:
        """Return what finds and filters the MLflow run."""
        record = self.row.records[0]
        shared = payload.spec_tags(record.spec)
        names = ("method", "task", "model", "regime", "setting", "device_kind")
        return {name: shared[name] for name in names} | {
            "kind": AGGREGATE,
            "label": self.row.method[:MAX_VALUE_LENGTH],
            "condition_id": payload.provenance_tags(record)["condition_id"],
            "seeds": " ".join(map(str, self.row.seeds))[:MAX_VALUE_LENGTH],
        }


def _named(name: str, estimate: Estimate) -> Iterator[tuple[str, float | None]]:
    """Yield the parts of an estimate by name: the mean has the name alone."""
    values = estimate.as_dict()
    for part in ("mean", "sd", "low", "high"):
        value = values[part]
        yield (name if part == "mean" else f"{name}_{part}"), None if value is None else round(value, DIGITS)


def write_aggregates(
    writer: MlflowWriter, experiment: MlflowExperiment, tables: Sequence[ResultTable]
) -> None:
    """Write the rows of a leaderboard's tables that MLflow does not have, or has otherwise."""
    aggregates = {
        each.key: each for each in (Aggregate(table, row) for table in tables for row in table.rows)
    }
    for key in experiment.aggregates.keys() - aggregates.keys():
        writer.client.delete_run(experiment.aggregates.pop(key).id)
    for key, aggregate in aggregates.items():
        experiment.aggregates[key] = _write(writer, experiment, aggregate)
    _write_view(writer, experiment, tables, list(aggregates.values()))


def _write(writer: MlflowWriter, experiment: MlflowExperiment, aggregate: Aggregate) -> AggregateRun:
    """Write an aggregate if it differs from what MLflow has, and return it as MLflow has it then."""
    old = experiment.aggregates.get(aggregate.key)
    content = [aggregate.name, aggregate.metrics, aggregate.params, aggregate.tags]
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:16]
    if old is not None and old.digest == digest:
        return old
    if old is not None and not old.metrics <= aggregate.metrics.keys():  # MLflow never forgets a metric
        writer.client.delete_run(old.id)
        old = None
    new = _create(writer, experiment, aggregate) if old is None else old
    version, now = new.version + 1, int(1000 * time.time())
    points = [MetricPoint(name, value, now, version) for name, value in aggregate.metrics.items()]
    tags = {**aggregate.tags, AGGREGATE_DIGEST: f"{version}:{digest}"}
    writer.log(new.id, points, tags, aggregate.params if old is None else None)
    if new.name != aggregate.name:
        writer.client.update_run(new.id, name=aggregate.name)
    return AggregateRun(new.id, aggregate.name, version, digest, frozenset(aggregate.metrics))


def _create(writer: MlflowWriter, experiment: MlflowExperiment, aggregate: Aggregate) -> AggregateRun:
    """Create an MLflow run without a parent: the page lists it beside the leaderboard, not below it."""
    tags = {
        "kind": AGGREGATE,
        AGGREGATE_KEY: aggregate.key,
        AGGREGATE_DIGEST: "0:",
        "home": home_tag(writer.server),
    }
    run = writer.client.create_run(experiment.id, tags=tags, run_name=aggregate.name)
    writer.client.set_terminated(run.info.run_id)
    return AggregateRun(str(run.info.run_id), aggregate.name, 0, "", frozenset())


def _write_view(
    writer: MlflowWriter,
    experiment: MlflowExperiment,
    tables: Sequence[ResultTable],
    aggregates: Sequence[Aggregate],
) -> None:
    """Let the page show the columns of these tables, with the settings of their methods if they are few."""
    if not aggregates:
        return
    gains = [f"gain_over_{name}" for name in dict.fromkeys(n for table in tables for n in table.references)]
    ends = ("", "_low", "_high")
    metrics = ["average_accuracy", "average_accuracy_sd", "n"]
    metrics += [f"{FORBIDDEN.sub('_', gain)}{end}" for gain in gains for end in ends]
    metrics += [f"total_{name}" for name in ("passes", "flops", "seconds")]
    metrics += ["average_accuracy_low", "average_accuracy_high"]
    methods = [aggregate.row.records[0].spec.method for aggregate in aggregates]
    params = list(dict.fromkeys(f"{method.name}.{name}" for method in methods for name in method.settings))
    view = view_of_aggregates(metrics, params if len(params) <= MAX_PARAM_COLUMNS else ())
    if experiment.tags.get(VIEW_TAG) != view:
        writer.client.set_experiment_tag(experiment.id, VIEW_TAG, view)
        experiment.tags[VIEW_TAG] = view

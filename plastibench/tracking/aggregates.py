"""What people compare: an MLflow run for each row of a leaderboard's tables, beside the runs it averages.

They are updated in place while runs finish: MLflow's page shows each with the values written last.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
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
"""Decimals of accuracies and gains, in percent: the page shows every digit that a number has."""
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
            **dict(_named("average_accuracy", row.average, "sd", "low", "high")),
            **dict(_named("last_accuracy", row.last, "sd")),
        }
        for reference, gain in row.gains.items():
            values |= dict(_named(f"gain_over_{reference}", gain.estimate, "low", "high"))
            values[f"gain_over_{reference}_p"] = round(gain.p, DIGITS)
        # The same mean, summed in another order, is the same value.
        costs = {name: row.cost[name] for name in COSTS}
        values |= {f"total_{name}": cost and float(f"{cost:.9g}") for name, cost in costs.items()}
        values |= {f"tuning_{name}": float(f"{cost:.9g}") for name, cost in row.tuning_cost.items() if cost}
        known = {name: value for name, value in values.items() if value is not None}
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


def _named(name: str, estimate: Estimate, *parts: str) -> Iterator[tuple[str, float | None]]:
    """Yield the mean of an estimate by its name, and parts of the estimate by NAME_PART."""
    values = estimate.as_dict()
    for part in ("mean", *parts):
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
    old, names = experiment.aggregates.get(aggregate.key), frozenset(aggregate.metrics)
    content = [aggregate.name, aggregate.metrics, aggregate.params, aggregate.tags]
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:16]
    if old is not None and (old.digest, old.metrics) == (digest, names):
        return old
    if old is not None and not (old.metrics and old.metrics <= names):
        # MLflow never forgets a metric; an aggregate without any is what a dead process has left.
        writer.client.delete_run(old.id)
        old = None
    version = 1 if old is None else old.version + 1
    tags = {**aggregate.tags, AGGREGATE_DIGEST: f"{version}:{digest}"}
    now = int(1000 * time.time())
    points = [MetricPoint(name, value, now, version) for name, value in aggregate.metrics.items()]
    if old is None:
        run = _create(writer, experiment, aggregate, tags)
        writer.log(run, points, params=aggregate.params)
        writer.client.set_terminated(run)
    else:
        run = old.id
        writer.log(run, points, {name: tags[name] for name in ("seeds", AGGREGATE_DIGEST)})
        if old.name != aggregate.name:
            writer.client.update_run(run, name=aggregate.name)
    return AggregateRun(run, aggregate.name, version, digest, names)


def _create(
    writer: MlflowWriter, experiment: MlflowExperiment, aggregate: Aggregate, tags: Mapping[str, str]
) -> str:
    """Create an MLflow run without a parent: the page lists it beside the leaderboard, not below it."""
    identity = {AGGREGATE_KEY: aggregate.key, "home": home_tag(writer.server)}
    run = writer.client.create_run(experiment.id, tags={**tags, **identity}, run_name=aggregate.name)
    return str(run.info.run_id)


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
    if any(aggregate.row.tuning_cost for aggregate in aggregates):
        metrics += ["tuning_passes"]
    metrics += ["average_accuracy_low", "average_accuracy_high"]
    methods = [aggregate.row.records[0].spec.method for aggregate in aggregates]
    params = list(dict.fromkeys(f"{method.name}.{name}" for method in methods for name in method.settings))
    view = view_of_aggregates(metrics, params if len(params) <= MAX_PARAM_COLUMNS else ())
    if experiment.tags.get(VIEW_TAG) != view:
        writer.client.set_experiment_tag(experiment.id, VIEW_TAG, view)
        experiment.tags[VIEW_TAG] = view

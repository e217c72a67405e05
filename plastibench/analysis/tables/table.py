"""From finished runs to tables: one table per setting, one row per method."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from plastibench.analysis.labels import record_labels, short_data
from plastibench.analysis.stats.estimate import (
    Estimate,
    estimate_mean,
    noninferiority_test,
)
from plastibench.analysis.stats.significance import NONINFERIORITY_MARGIN, holm_correction, sign_flip_test
from plastibench.analysis.tables.accuracy_curve import cost_to_match
from plastibench.analysis.tables.costs import HardwareCost, mean_costs
from plastibench.analysis.tables.grouping import make_titles, without_repeats
from plastibench.analysis.tables.run_notes import (
    Reference,
    missing_references,
    origin_notes,
    short_stages_note,
)
from plastibench.analysis.tables.shown import Shown
from plastibench.analysis.tables.text_table import TextTable
from plastibench.analysis.tables.unchanged import num_unchanged, unchanged_notes
from plastibench.experiments.grid_plan import Refusal
from plastibench.store import tuned_settings, verifications
from plastibench.store.record import Record
from plastibench.store.run_metrics import Costs, RunMetrics
from plastibench.store.tuned_settings import condition_id, untuned_spec
from plastibench.store.verifications import Mark


@dataclass(frozen=True)
class Gain:
    """Difference in average accuracy to a reference, in percentage points, paired by seed."""

    estimate: Estimate
    p: float
    """Of the exact sign-flip test that there is no difference, Holm-corrected over the table's methods."""
    noninferiority_p: float
    """Of the one-sided t test that the method is worse by the margin or more, corrected likewise."""


@dataclass(frozen=True)
class ResultRow:
    """Results of a method over its seeds."""

    method: str
    metrics: tuple[RunMetrics, ...]
    """By seed, without diverged runs."""
    records: tuple[Record, ...]
    """By seed, with diverged runs."""
    last: Estimate
    """Accuracy after the last stage, in percent."""
    average: Estimate
    """Accuracy averaged over stages, in percent."""
    gains: Mapping[str, Gain]
    """By the name of the reference."""
    cost: Costs
    """Mean over seeds; seconds, memory and energy are None if the seeds ran on different hardware."""
    relative_cost: Costs
    """Divided by that of the cost reference; empty without a cost reference."""
    by_hardware: Mapping[str, HardwareCost]
    cost_to_match: float | None
    """Passes until the mean accuracy reaches the cost reference's last one, divided by its passes."""
    num_diverged: int
    """Runs that ended with an infinite or undefined loss; no average includes them."""
    baseline: str | None = None
    """The table's baseline."""
    num_unchanged: int | None = None
    """Runs with the last weights of the baseline's run; None for the baseline, or without one."""

    @property
    def gain(self) -> Estimate | None:
        """Return the gain over the table's baseline; None for the baseline itself."""
        gain = self.gains.get(self.baseline or "")
        return gain.estimate if gain else None

    @property
    def tuning_cost(self) -> Mapping[str, float]:
        """Return what the trials took that chose its settings; nothing if none did, or it is not known."""
        origin = tuned_settings.from_record(self.records[0])
        return {} if origin is None else origin.cost

    @cached_property
    def marks(self) -> Mapping[int, Mark]:
        """Return how repetitions of its runs ended, by seed."""
        found = ((record.spec.seed, verifications.from_record(record)) for record in self.records)
        return {seed: mark for seed, mark in found if mark is not None}

    @property
    def verdicts(self) -> Mapping[str, int]:
        """Return how many repetitions ended with each verdict."""
        return Counter(mark.verdict for mark in self.marks.values())

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of the runs that did not diverge."""
        return tuple(run.seed for run in self.metrics)


@dataclass(frozen=True, repr=False)
class ResultTable(Shown):
    """Results of all methods under one setting."""

    title: str
    baseline: str | None
    """The method whose accuracy the others are compared with, usually warm start."""
    cost_reference: str | None
    """The method whose cost is the unit and whose accuracy is to be matched, usually cold start."""
    rows: tuple[ResultRow, ...]
    notes: tuple[str, ...]
    missing: Mapping[Reference, str]
    """Why there is no baseline or no cost reference, if one is wanted."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why methods cannot run here that were asked for: they have no row."""

    def text_tables(self, *, narrow: bool) -> list[TextTable]:
        """Return the table as text, with all standard columns or with those that fit a terminal."""
        from plastibench.analysis.tables.columns import STYLES, format_table

        return [format_table(self, STYLES["narrow"]) if narrow else format_table(self)]

    @cached_property
    def hardware(self) -> tuple[str, ...]:
        """Return the hardware of all runs that did not diverge, sorted."""
        return tuple(sorted({name for row in self.rows for name in row.by_hardware}))

    @cached_property
    def same_test(self) -> bool:
        """Return whether the test of every stage was the same: as many examples, and the same task."""
        return all(run.same_test for row in self.rows for run in row.metrics)

    @property
    def references(self) -> tuple[str, ...]:
        """Return the methods that the others are compared with."""
        return tuple(dict.fromkeys(name for name in (self.baseline, self.cost_reference) if name))


def build_tables(
    records: Iterable[Record],
    baseline: str | None,
    cost_reference: str | None = None,
    refused: Sequence[Refusal] = (),
) -> list[ResultTable]:
    """Return one table per setting, sorted by title.

    Runs that differ in anything but method and seed, the data included, are never in one table. Runs
    whose test set was held out, those of a tuning, have no test accuracy and are left out.
    """
    groups: dict[str, list[Record]] = {}
    for record in without_repeats(records):
        if not record.spec.held_out_test:
            groups.setdefault(condition_id(record), []).append(record)
    titles = make_titles([group[0] for group in groups.values()])
    tables = [
        replace(
            _build(title, group, baseline, cost_reference),
            refused={
                one.spec.method.name: one.reason
                for one in refused
                if one.spec.condition_id == untuned_spec(group[0]).condition_id
            },
        )
        for title, group in zip(titles, groups.values(), strict=True)
    ]
    return sorted(map(_with_data_note, tables), key=lambda table: table.title)


def _with_data_note(table: ResultTable) -> ResultTable:
    """Say so under a table if runs of its setting were left out because they were made on other data."""
    data = f"data={short_data(table.rows[0].records[0])}"
    if data not in table.title:
        return table
    note = f"{data}: runs of this setting on other data have a table of their own"
    return replace(table, notes=(*table.notes, note))


def _build(title: str, group: list[Record], baseline: str | None, cost_reference: str | None) -> ResultTable:
    records: dict[str, list[Record]] = {}
    for record, label in zip(group, record_labels(group), strict=True):
        records.setdefault(label, []).append(record)
    metrics = {
        label: {run.spec.seed: run.metrics for run in runs if run.status == "done"}
        for label, runs in records.items()
    }
    missing = missing_references({"baseline": baseline, "cost_reference": cost_reference}, records)
    baseline, cost_reference = (name if name in metrics else None for name in (baseline, cost_reference))
    unit = None if cost_reference is None else list(metrics[cost_reference].values())
    gains = {name: _gains(metrics, name) for name in dict.fromkeys((baseline, cost_reference)) if name}
    one_hardware = len({run.hardware for runs in metrics.values() for run in runs.values()}) == 1
    rows = []
    for label in sorted(records):
        runs = list(metrics[label].values())
        cost, relative, by_hardware = mean_costs(runs, unit, one_hardware=one_hardware)
        row = ResultRow(
            method=label,
            metrics=tuple(run for _, run in sorted(metrics[label].items())),
            records=tuple(sorted(records[label], key=lambda record: record.spec.seed)),
            last=estimate_mean([run.last for run in runs]),
            average=estimate_mean([run.average for run in runs]),
            gains={name: found[label] for name, found in gains.items() if label in found},
            cost=cost,
            relative_cost=relative,
            by_hardware=by_hardware,
            cost_to_match=cost_to_match(runs, unit or []),
            num_diverged=sum(run.status != "done" for run in records[label]),
            baseline=baseline,
            num_unchanged=(
                None if baseline in (None, label) else num_unchanged(metrics[label], metrics[baseline])
            ),
        )
        rows.append(row)
    notes = (*unchanged_notes(baseline, rows), *origin_notes(group), *short_stages_note(metrics))
    return ResultTable(title, baseline, cost_reference, tuple(rows), notes, missing)


def _gains(metrics: Mapping[str, Mapping[int, RunMetrics]], reference: str) -> dict[str, Gain]:
    """Return the gain of every method over a reference; p-values are corrected over all of them."""
    baseline = metrics[reference]
    differences = {
        label: [
            run.average - baseline[seed].average for seed, run in sorted(runs.items()) if seed in baseline
        ]
        for label, runs in metrics.items()
        if label != reference
    }
    differences = {label: values for label, values in differences.items() if values}
    estimates = [estimate_mean(values) for values in differences.values()]
    p_values = holm_correction([sign_flip_test(values) for values in differences.values()])
    noninferiority = holm_correction(
        [
            noninferiority_test(estimate, NONINFERIORITY_MARGIN) if estimate.n > 1 else 1.0
            for estimate in estimates
        ]
    )
    gains = map(Gain, estimates, p_values, noninferiority)
    return dict(zip(differences, gains, strict=True))

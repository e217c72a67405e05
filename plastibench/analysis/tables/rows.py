"""From finished runs to tables: one table for each setting, one row for each method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from plastibench.analysis.labels import difference, record_labels, record_settings, setting_label
from plastibench.analysis.stats import Estimate, above_margin, differences, holm, mean, sign_flips
from plastibench.analysis.tables.short_stages import short_stages
from plastibench.experiments.spec import Spec
from plastibench.store.record import Record
from plastibench.store.run_metrics import Costs, RunMetrics, hardware_names, mean_cost, relative_cost, runs_on
from plastibench.store.tuned_settings import condition_id, untuned_spec

MARGIN = 0.5
"""Points of accuracy by which a method may lie below the cost reference and still be "no worse"."""


@dataclass(frozen=True)
class Gain:
    """How far the mean over stages of one method lies above another's, seed by seed, in points."""

    estimate: Estimate
    p: float
    """Of the exact sign-flip test that there is no difference, corrected by Holm over the table's methods."""
    p_worse: float
    """Of the one-sided t test that it is worse by `MARGIN` or more, corrected in the same way."""


@dataclass(frozen=True)
class Row:
    """What a method came to over its seeds."""

    method: str
    outcomes: tuple[RunMetrics, ...]
    """By seed; those of runs that diverged are not among them."""
    runs: tuple[Record, ...]
    """What the row is made from, by seed, the diverged ones too."""
    last: Estimate
    average: Estimate
    gains: Mapping[str, Gain]
    """By the name of the method that it is paired with."""
    cost: Costs
    """Mean over seeds; None, too, for seconds, memory and energy of several kinds of hardware."""
    relative: Costs
    """The same, each divided by the cost reference's."""
    machines: Mapping[str, tuple[Costs, Costs]]
    """Both once more by hardware, in the table's order; those of runs that were made with it."""
    match: float | None
    """Share of the cost reference's passes at which its last accuracy is reached; None if it never is."""
    diverged: int
    """Runs that ended with an infinite or undefined loss; they are in no average."""

    baseline: str | None = None
    """The table's."""

    @property
    def gain(self) -> Estimate | None:
        """Return the gain over the table's baseline; None for the baseline itself."""
        found = self.gains.get(self.baseline or "")
        return found.estimate if found else None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds that count."""
        return tuple(run.seed for run in self.outcomes)


@dataclass(frozen=True)
class Table:
    """The methods that ran under one setting."""

    title: str
    baseline: str | None
    """The method whose gain is asked for: going on without a remedy, as a rule."""
    cost_reference: str | None
    """The method whose cost is the unit, and whose accuracy is to be kept: starting anew, as a rule."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @cached_property
    def hardware(self) -> tuple[str, ...]:
        """Return what the runs that count were made with; columns number it where there are several."""
        return tuple(sorted({name for row in self.rows for name in row.machines}))

    @property
    def references(self) -> tuple[str, ...]:
        """Return the methods that the others are paired with."""
        return tuple(name for name in (self.baseline, self.cost_reference) if name)


def tables(records: Iterable[Record], baseline: str | None, cost_reference: str | None = None) -> list[Table]:
    """Return one table for each setting: runs that differ in what decides the numbers are never mixed.

    Sealed runs, those of a tuning, have no test accuracy and are left out.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if not record.spec.sealed:
            groups.setdefault(condition_id(record), []).append(record)
    titles = _titles([untuned_spec(group[0]) for group in groups.values()])
    found = [
        _table(title, group, (baseline, cost_reference))
        for title, group in zip(titles, groups.values(), strict=True)
    ]
    return sorted(found, key=lambda table: table.title)


def _titles(firsts: list[Spec]) -> list[str]:
    """Return a title for each group, with all that tells one group from another of the same title."""
    plain = [setting_label(spec) for spec in firsts]
    found = []
    for spec, title in zip(firsts, plain, strict=True):
        twins = [other for other, twin in zip(firsts, plain, strict=True) if twin == title]
        more = difference(spec, twins)
        found.append(f"{title} ({more})" if more else title)
    return found


def _table(title: str, group: list[Record], wanted: tuple[str | None, str | None]) -> Table:
    labels = record_labels(group)
    every: dict[str, list[Record]] = {}
    sound: dict[str, dict[int, RunMetrics]] = {}
    diverged: dict[str, int] = dict.fromkeys(labels, 0)
    for record, label in zip(group, labels, strict=True):
        every.setdefault(label, []).append(record)
        runs = sound.setdefault(label, {})
        if record.status == "done":
            runs[record.spec.seed] = record.metrics
        else:
            diverged[label] += 1
    baseline, cost_reference = (name if name in sound else None for name in wanted)
    gains = {name: _gains(sound, name) for name in dict.fromkeys((baseline, cost_reference)) if name}
    unit = list(sound[cost_reference].values()) if cost_reference else []
    one, hardware = mean_cost(unit), hardware_names(run for runs in sound.values() for run in runs.values())
    same = len(hardware) == 1
    rows = [
        Row(
            method=label,
            outcomes=tuple(run for _, run in sorted(sound[label].items())),
            runs=tuple(sorted(every[label], key=lambda record: record.spec.seed)),
            last=mean([run.last for run in sound[label].values()]),
            average=mean([run.average for run in sound[label].values()]),
            gains={name: found[label] for name, found in gains.items() if label in found},
            cost=(cost := mean_cost(sound[label].values())),
            relative=(ratio := relative_cost(cost, one, same_hardware=same)),
            machines={hardware[0]: (cost, ratio)}
            if same and sound[label]
            else _machines(sound[label].values(), unit),
            match=_match(list(sound[label].values()), unit),
            diverged=diverged[label],
            baseline=baseline,
        )
        for label in sorted(sound)
    ]
    short = short_stages({label: runs.values() for label, runs in sound.items()})
    return Table(title, baseline, cost_reference, tuple(rows), (*_notes(group), *short))


def _machines(runs: Iterable[RunMetrics], unit: Sequence[RunMetrics]) -> dict[str, tuple[Costs, Costs]]:
    found = {}
    for name in hardware_names(runs):
        cost = mean_cost(runs_on(name, runs))
        found[name] = cost, relative_cost(cost, mean_cost(runs_on(name, unit)), same_hardware=True)
    return found


def _gains(sound: Mapping[str, Mapping[int, RunMetrics]], reference: str) -> dict[str, Gain]:
    """Pair every method with a reference by seed; the family of the correction is the table's methods."""
    against = sound[reference]
    pairs = {
        label: [(run.average, against[seed].average) for seed, run in sorted(runs.items()) if seed in against]
        for label, runs in sound.items()
        if label != reference
    }
    pairs = {label: found for label, found in pairs.items() if found}
    apart = [[ours - theirs for ours, theirs in found] for found in pairs.values()]
    p, estimates = holm(sign_flips(apart)), differences(apart)
    worse = holm([above_margin(found, MARGIN) if found.n > 1 else 1.0 for found in estimates])
    found = zip(estimates, p, worse, strict=True)
    return {label: Gain(*values) for label, values in zip(pairs, found, strict=True)}


def _match(runs: list[RunMetrics], unit: list[RunMetrics]) -> float | None:
    """Return the share of the cost reference's passes at which the mean curve reaches its last accuracy.

    Between two stages the curve is taken as straight.
    """
    if not runs or not unit:
        return None
    target = mean([run.last for run in unit]).mean
    whole = mean([float(sum(run.passes)) for run in unit]).mean
    curve = [(0.0, 0.0), *as_cost_adds_up(runs)]
    for (cost, accuracy), (then, reached) in pairwise(curve):
        if reached >= target:
            share = (target - accuracy) / (reached - accuracy) if reached > accuracy else 0.0
            return (cost + share * (then - cost)) / whole
    return None


def as_cost_adds_up(runs: Sequence[RunMetrics]) -> list[tuple[float, float]]:
    """Return (passes so far, test accuracy in percent) after each stage, means over runs."""
    spent = accumulate(_by_stage([run.passes for run in runs]))
    return list(zip(spent, _by_stage([run.accuracies for run in runs]), strict=True))


def _by_stage(runs: Sequence[Sequence[float]]) -> list[float]:
    return [sum(stage) / len(stage) for stage in zip(*runs, strict=True)]


def _notes(group: list[Record]) -> tuple[str, ...]:
    """Return what a reader must know of the runs beside the setting."""
    notes = []
    # Seeds of a method that come from an index share what is said of them.
    origins = {id(record.provenance): record.provenance for record in group}
    one_each = {(id(record.spec.method), id(record.provenance)): record for record in group}
    for what in ("device", "torch", "plastibench", "commit", "data"):
        values = sorted({str(provenance.get(what)) for provenance in origins.values()})
        if what == "data":
            values = [value[:12] for value in values]
        notes.append(f"{what} {' and '.join(values)}")
    settings = sorted({record_settings(record) for record in one_each.values()})
    return (*settings, "; ".join(notes))

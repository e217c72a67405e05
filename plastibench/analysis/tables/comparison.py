"""Two selections of runs side by side: what they have in common, and how far apart it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from plastibench.analysis.labels import difference, part_difference, setting_label
from plastibench.analysis.stats import Estimate, holm, paired, sign_flip, unpaired
from plastibench.analysis.tables.rows import Row, Table
from plastibench.experiments.spec import Spec, canonical
from plastibench.store import tuned_settings
from plastibench.store.run_metrics import RunMetrics

Item = TypeVar("Item")


@dataclass(frozen=True)
class MethodComparison:
    """A method under one setting as both selections have it; differences: second minus first, in points."""

    method: str
    first: Row
    second: Row
    differing: str
    """What the method's settings are on each side where they are not the same."""
    last: Estimate
    average: Estimate
    pairs: int
    """Seeds that both have, by which the differences are paired; 0: unpaired, by Welch's t."""
    same: int
    """Runs that are on both sides: one id, one description."""
    p: float
    """That the means over stages are the same, corrected by Holm over the methods of the setting."""


@dataclass(frozen=True)
class Beside:
    """A setting that both selections have."""

    title: str
    differing: str
    """Where the two settings are not the same in everything: what the second one has otherwise."""
    rows: tuple[MethodComparison, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    """Methods that only the first, and only the second selection has."""


@dataclass(frozen=True)
class Comparison:
    """Two selections."""

    names: tuple[str, str]
    settings: tuple[Beside, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    """Titles of settings that only one selection has."""


def beside(names: tuple[str, str], first: Sequence[Table], second: Sequence[Table]) -> Comparison:
    """Put the tables of two selections side by side.

    Settings that are the same go together; of the rest, those with the same task and model, where
    each selection has one of them. Methods go together in the same way.
    """
    pairs, alone = _pairs(first, second, _setting_id, _names)
    return Comparison(
        names,
        tuple(_beside(one, other) for one, other in pairs),
        (tuple(table.title for table in alone[0]), tuple(table.title for table in alone[1])),
    )


def _pairs(
    first: Iterable[Item], second: Iterable[Item], *keys: Callable[[Item], object]
) -> tuple[list[tuple[Item, Item]], tuple[list[Item], list[Item]]]:
    """Return which items belong together: those with an equal key that no other item on their side has."""
    left, right = list(first), list(second)
    pairs = []
    for key in keys:
        ours, theirs = _alone_by(left, key), _alone_by(right, key)
        found = [(ours[name], theirs[name]) for name in ours if name in theirs]
        left = [item for item in left if not any(item is one for one, _ in found)]
        right = [item for item in right if not any(item is other for _, other in found)]
        pairs += found
    return pairs, (left, right)


def _alone_by(items: Sequence[Item], key: Callable[[Item], object]) -> dict[object, Item]:
    keys = [key(item) for item in items]
    return {name: item for name, item in zip(keys, items, strict=True) if keys.count(name) == 1}


def _spec(table: Table) -> Spec:
    return tuned_settings.untuned_spec(table.rows[0].runs[0])


def _setting_id(table: Table) -> str:
    return tuned_settings.condition_id(table.rows[0].runs[0])


def _names(table: Table) -> tuple[str, str]:
    return _spec(table).task.name, _spec(table).model.name


def _beside(first: Table, second: Table) -> Beside:
    ours, theirs = _spec(first), _spec(second)
    rows, alone = _pairs(first.rows, second.rows, _settings_of, _name_of)
    p = holm([_p(one, other) for one, other in rows])
    sides = [_sides(one, other, value) for (one, other), value in zip(rows, p, strict=True)]
    return Beside(
        setting_label(ours),
        _both(difference(ours, [theirs]), difference(theirs, [ours])),
        tuple(sorted(sides, key=lambda row: row.method)),
        (tuple(row.method for row in alone[0]), tuple(row.method for row in alone[1])),
    )


def _settings_of(row: Row) -> str:
    run = row.runs[0]
    origin = tuned_settings.from_record(run)
    chosen = [(name, run.spec.recipe[name]) for name in sorted(origin.instead_of)] if origin else []
    return canonical([asdict(run.spec.method), chosen])


def _name_of(row: Row) -> str:
    return row.runs[0].spec.method.name


def _both(first: str, second: str) -> str:
    return f"{first or 'nothing'} | {second or 'nothing'}" if first or second else ""


def _by_seed(row: Row) -> dict[int, RunMetrics]:
    return {run.seed: run for run in row.outcomes}


def _seed_pairs(first: Row, second: Row) -> list[tuple[RunMetrics, RunMetrics]]:
    """Return the runs of seeds that both have; none where that is a single one and there are more runs."""
    ours, theirs = _by_seed(first), _by_seed(second)
    found = [(ours[seed], theirs[seed]) for seed in sorted(ours) if seed in theirs]
    return found if len(found) > 1 or min(len(ours), len(theirs)) < 2 else []


def _p(first: Row, second: Row) -> float:
    """Return the p of a method's means over stages; 1 where a side has no run that counts."""
    pairs = _seed_pairs(first, second)
    if pairs:
        return sign_flip([other.average - one.average for one, other in pairs])
    if not first.outcomes or not second.outcomes:
        return 1.0
    return unpaired([run.average for run in second.outcomes], [run.average for run in first.outcomes])[1]


def _sides(first: Row, second: Row, p: float) -> MethodComparison:
    pairs = _seed_pairs(first, second)

    def apart(value: Callable[[RunMetrics], float]) -> Estimate:
        if pairs:
            return paired([(value(other), value(one)) for one, other in pairs])
        return unpaired([value(run) for run in second.outcomes], [value(run) for run in first.outcomes])[0]

    ours, theirs = first.runs[0].spec.method, second.runs[0].spec.method
    return MethodComparison(
        method=first.method if first.method == second.method else ours.name,
        first=first,
        second=second,
        differing=_both(part_difference(ours, theirs), part_difference(theirs, ours)),
        last=apart(lambda run: run.last),
        average=apart(lambda run: run.average),
        pairs=len(pairs),
        same=len({run.id for run in first.runs} & {run.id for run in second.runs}),
        p=p,
    )

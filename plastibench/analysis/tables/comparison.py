"""Two selections of runs side by side: what they have in common, and the differences."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from plastibench.analysis.labels import method_difference, setting_difference, setting_label
from plastibench.analysis.stats.estimate import Estimate, estimate_mean, unpaired_difference
from plastibench.analysis.stats.significance import holm_correction, sign_flip_test
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.experiments.spec import canonical
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_metrics import relative_cost

Item = TypeVar("Item")
Names = tuple[str, ...]


@dataclass(frozen=True)
class MethodComparison:
    """A method in both selections. Differences are second minus first, in percentage points."""

    method: str
    first: ResultRow
    second: ResultRow
    differing: str
    """The method's settings that differ, as "FIRST | SECOND"; empty if none does."""
    last: Estimate
    average: Estimate
    pairs: int
    """Seeds by which the differences are paired; 0 if they are unpaired."""
    same_runs: int
    """Runs that are in both selections."""
    p: float
    """Of the test that the average accuracies are the same, Holm-corrected over the setting's methods."""

    def seconds_ratio(self) -> dict[str, float | None]:
        """Return the second's seconds divided by the first's, for each hardware that both have."""
        first, second = self.first.by_hardware, self.second.by_hardware
        return {
            name: relative_cost(second[name].cost, first[name].cost, same_hardware=True)["seconds"]
            for name in first
            if name in second
        }


@dataclass(frozen=True)
class SettingComparison:
    """A setting that both selections have."""

    title: str
    differing: str
    """The values of the setting that differ, as "FIRST | SECOND"; empty if none does."""
    rows: tuple[MethodComparison, ...]
    unmatched: tuple[Names, Names]
    """Methods that only the first, and only the second selection has."""

    @property
    def hardware(self) -> list[str]:
        """Return the hardware of all runs, sorted."""
        return sorted(
            {name for row in self.rows for side in (row.first, row.second) for name in side.by_hardware}
        )


@dataclass(frozen=True)
class Comparison:
    """Two selections of runs."""

    names: tuple[str, str]
    settings: tuple[SettingComparison, ...]
    unmatched: tuple[Names, Names]
    """Titles of settings that only the first, and only the second selection has."""


def compare_tables(
    names: tuple[str, str], first: Sequence[ResultTable], second: Sequence[ResultTable]
) -> Comparison:
    """Compare the tables of two selections.

    Equal settings are matched; of the others those with the same task and model, if each selection
    has one of them. Methods are matched likewise: equal settings first, then equal names.
    """
    pairs, unmatched = _match(first, second, _setting_id, _task_and_model)
    left, right = (tuple(table.title for table in tables) for tables in unmatched)
    return Comparison(names, tuple(_compare_setting(one, other) for one, other in pairs), (left, right))


def _match(
    first: Iterable[Item], second: Iterable[Item], *keys: Callable[[Item], object]
) -> tuple[list[tuple[Item, Item]], tuple[list[Item], list[Item]]]:
    """Return pairs of items with an equal key that is unique on either side, and the unmatched items."""
    left, right = list(first), list(second)
    pairs = []
    for key in keys:
        ours, theirs = _by_unique_key(left, key), _by_unique_key(right, key)
        shared = [name for name in ours if name in theirs]
        left = [item for item in left if key(item) not in shared]
        right = [item for item in right if key(item) not in shared]
        pairs += [(ours[name], theirs[name]) for name in shared]
    return pairs, (left, right)


def _by_unique_key(items: Sequence[Item], key: Callable[[Item], object]) -> dict[object, Item]:
    keys = [key(item) for item in items]
    return {name: item for name, item in zip(keys, items, strict=True) if keys.count(name) == 1}


def _record(table: ResultTable) -> Record:
    """Return one of the runs, which have the setting and the data in common."""
    return table.rows[0].records[0]


def _setting_id(table: ResultTable) -> str:
    return tuned_settings.condition_id(_record(table))


def _task_and_model(table: ResultTable) -> tuple[str, str]:
    spec = _record(table).spec
    return spec.task.name, spec.model.name


def _method_settings(row: ResultRow) -> str:
    run = row.records[0]
    origin = tuned_settings.from_record(run)
    tuned = [(name, run.spec.recipe[name]) for name in sorted(origin.instead_of)] if origin else []
    return canonical([asdict(run.spec.method), tuned])


def _method_name(row: ResultRow) -> str:
    return row.records[0].spec.method.name


def _compare_setting(first: ResultTable, second: ResultTable) -> SettingComparison:
    ours, theirs = _record(first), _record(second)
    pairs, unmatched = _match(first.rows, second.rows, _method_settings, _method_name)
    rows = [_compare_method(one, other) for one, other in pairs]
    p_values = holm_correction([row.p for row in rows])
    rows = [replace(row, p=p) for row, p in zip(rows, p_values, strict=True)]
    left, right = (tuple(row.method for row in rows) for rows in unmatched)
    return SettingComparison(
        title=setting_label(tuned_settings.untuned_spec(ours)),
        differing=_join(setting_difference(ours, [theirs]), setting_difference(theirs, [ours])),
        rows=tuple(sorted(rows, key=lambda row: row.method)),
        unmatched=(left, right),
    )


def _join(first: str, second: str) -> str:
    return f"{first or 'nothing'} | {second or 'nothing'}" if first or second else ""


def _compare_method(first: ResultRow, second: ResultRow) -> MethodComparison:
    """Compare a method; its p-value is not corrected yet."""
    runs, others = ({run.seed: run for run in row.metrics} for row in (first, second))
    seeds = sorted(runs.keys() & others.keys())
    same_data = first.records[0].data == second.records[0].data
    if not same_data or (len(seeds) == 1 and min(len(runs), len(others)) > 1):
        seeds = []  # seeds pair nothing on other data; a single pair would say less than all runs, unpaired
    if seeds:
        differences = [others[seed].average - runs[seed].average for seed in seeds]
        average, p = estimate_mean(differences), sign_flip_test(differences)
        last = estimate_mean([others[seed].last - runs[seed].last for seed in seeds])
    else:
        average, p = unpaired_difference(*([run.average for run in row.metrics] for row in (second, first)))
        last, _ = unpaired_difference(*([run.last for run in row.metrics] for row in (second, first)))
    ours, theirs = first.records[0].spec.method, second.records[0].spec.method
    return MethodComparison(
        method=first.method if first.method == second.method else ours.name,
        first=first,
        second=second,
        differing=_join(method_difference(ours, theirs), method_difference(theirs, ours)),
        last=last,
        average=average,
        pairs=len(seeds),
        same_runs=len({run.id for run in first.records} & {run.id for run in second.records}),
        p=p,
    )

"""The rules for rows of a submitted records file whose settings a tuning chose.

Each function yields sentences, as those in `submission_rules` do. Nothing of the file is executed.
"""

from collections.abc import Iterator, Sequence

from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.experiments.spec import Spec, canonical
from plastibench.store import tuned_settings
from plastibench.store.record import DATA_DIGITS
from plastibench.store.records_file import RecordsFile
from plastibench.store.tuned_settings import TunedSettings

NOT_TUNED = ("target_accuracy", "max_epochs", "max_steps", "test_batch_size")
"""Settings of the recipe that are the same for every row of a setting, tuned or not: how long is trained, and
how it is tested."""


def unequal_tunings(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield the rows that were tuned with another budget than the others of their setting."""
    budgets = {
        row.method: origin.trials
        for row in table.rows
        if (origin := tuned_settings.from_record(row.records[0])) is not None
    }
    own = {row.method for row in rows} & set(budgets)
    if own and len(set(budgets.values())) > 1:
        each = ", ".join(sorted(budgets))
        yield f"tunings of one setting have equal budgets, which these have not: {each}"


def strange_tunings(submitted: RecordsFile) -> Iterator[str]:
    """Yield the tunings that no `plastibench tune` makes, or that were made on other data than the runs."""
    for variant, origin in submitted.tuned.items():
        runs = [record for record in submitted.runs if record.variant_id == variant]
        name = f"study {origin.study}"
        yield from (f"{name} {reason}" for reason in _strange_choices(origin, runs[0].spec))
        if origin.trial >= origin.trials:
            yield f"{name} chose trial {origin.trial} of {origin.trials}: the last one is {origin.trials - 1}"
        if origin.passes is None:
            yield f"{name} does not say how many passes its trials took"
        if origin.data not in {record.data for record in runs}:
            found = "no known data" if origin.data is None else f"data {origin.data[:DATA_DIGITS]}"
            yield f"{name} chose settings on {found}, not on those of its runs"


def _strange_choices(origin: TunedSettings, spec: Spec) -> Iterator[str]:
    """Yield what a study cannot have chosen in place of the settings that other rows use."""
    for name, usual in sorted(origin.instead_of.items()):
        if name in NOT_TUNED:
            yield f"chose {name}, which all rows of a setting share"
        for value in (usual, spec.recipe.get(name)):
            if type(value) not in (int, float):
                yield f"chose {name} in place of {canonical(value)[:60]}: only numbers are searched"
                break

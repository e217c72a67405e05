"""Whether a repetition on other hardware, data or versions could be another seed of its method."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev

from plastibench.analysis.stats.estimate import percent, prediction_interval
from plastibench.store.index.load import load_summaries
from plastibench.store.record import Record
from plastibench.store.run_source import RunSource
from plastibench.store.run_store import Store

MIN_SIBLINGS = 2
"""Other seeds from which on a repetition elsewhere can be judged by their spread."""
WIDEST = 2.0
"""Standard deviations of a usual method of the setting, up to which that of the other seeds counts: whoever
makes numbers up could make them so far apart that any repetition is among them."""


@dataclass(frozen=True)
class Spread:
    """Where the repetition lies among the other seeds of its method."""

    average: float
    """Accuracy averaged over stages, in percent, of the repetition."""
    num_seeds: int
    """The other seeds."""
    low: float
    """Lower end of their 95 % prediction interval."""
    high: float

    @property
    def contains(self) -> bool:
        """Return whether the repetition could be another seed."""
        return self.low <= self.average <= self.high

    @property
    def text(self) -> str:
        """Return a sentence."""
        where = "within" if self.contains else "outside"
        low, high = percent(self.low), percent(self.high)
        return (
            f"its average accuracy of {percent(self.average)} % is {where} the 95 % prediction interval of "
            f"{self.num_seeds} other seeds [{low}, {high}]"
        )


def spread_around(record: Record, repetition: Record, source: RunSource) -> Spread | None:
    """Return where a repetition lies among the other seeds of its method; None if they are too few."""
    measured = repetition.status == "done" and not record.spec.held_out_test
    found = load_summaries(source) if isinstance(source, Store) else source.records()
    averages = _averages(found, record) if measured else {}
    own = averages.pop(record.variant_id, [])
    if len(own) < MIN_SIBLINGS:
        return None
    low, high = prediction_interval(own, _largest_sd(averages))
    return Spread(repetition.metrics.average, len(own), max(low, 0.0), min(high, 100.0))


def _averages(found: Iterable[Record], record: Record) -> dict[str, list[float]]:
    """Return the average accuracies of the other finished runs of a run's setting, by variant."""
    averages: dict[str, list[float]] = defaultdict(list)
    for one in found:
        same_setting = one.condition_id == record.condition_id and one.data == record.data
        if same_setting and one.id != record.id and one.status == "done":
            averages[one.variant_id].append(one.metrics.average)
    return dict(averages)


def _largest_sd(others: Mapping[str, Sequence[float]]) -> float:
    """Return the standard deviation up to which that of a row counts, given the rows of other methods."""
    sds = [stdev(values) for values in others.values() if len(values) > MIN_SIBLINGS]
    return WIDEST * median(sds or [0.0]) or math.inf

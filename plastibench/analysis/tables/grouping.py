"""Which runs a table counts, and what tables of several settings are called."""

from collections.abc import Iterable

from plastibench.analysis.labels import setting_difference, setting_label
from plastibench.store.record import Record
from plastibench.store.tuned_settings import untuned_spec


def without_repeats(records: Iterable[Record]) -> Iterable[Record]:
    """Return each run once, with the most probes: it has the same results with and without them."""
    records = list(records)
    if not any(record.spec.probes for record in records):
        return records
    chosen: dict[str, Record] = {}
    for record in records:
        other = chosen.get(record.spec.without_probes().id, record)
        best = max(record, other, key=lambda one: len(one.spec.probes))
        chosen[record.spec.without_probes().id] = best
    return chosen.values()


def make_titles(records: list[Record]) -> list[str]:
    """Return a title for each setting; those with the same label are distinguished in brackets."""
    labels = [setting_label(untuned_spec(record)) for record in records]
    titles = []
    for record, label in zip(records, labels, strict=True):
        same = [other for other, twin in zip(records, labels, strict=True) if twin == label]
        difference = setting_difference(record, same)
        titles.append(f"{label} ({difference})" if difference else label)
    return titles

"""Which runs a table counts, and what tables of several settings are called."""

from __future__ import annotations

from collections.abc import Iterable

from plastibench.analysis.labels import data_difference, setting_difference, setting_label
from plastibench.store.record import Record
from plastibench.store.tuned_settings import untuned_spec


def without_repeats(records: Iterable[Record]) -> Iterable[Record]:
    """Return each run once: it has the same results with and without probes."""
    records = list(records)
    if not any(record.spec.probes for record in records):
        return records
    return {record.spec.without_probes().id: record for record in records}.values()


def make_titles(records: list[Record]) -> list[str]:
    """Return a title for each setting; those with the same label are distinguished in brackets."""
    specs = [untuned_spec(record) for record in records]
    labels = [setting_label(spec) for spec in specs]
    result = []
    for record, spec, label in zip(records, specs, labels, strict=True):
        same = [number for number, twin in enumerate(labels) if twin == label]
        difference = setting_difference(spec, [specs[number] for number in same])
        data = data_difference(record, [records[number] for number in same])
        brackets = " ".join(filter(None, (difference, data)))
        result.append(f"{label} ({brackets})" if brackets else label)
    return result

"""Why a table compares with no baseline, or with no cost reference."""

from collections.abc import Collection, Mapping
from typing import Literal

from plastibench.store.record import Record

Reference = Literal["baseline", "cost_reference"]
"""What the methods that others are compared with are for."""
LEFT_OUT: dict[Reference, str] = {
    "baseline": "no gains over {name}, the baseline",
    "cost_reference": "no gains over {name}, no relative costs and no cost to match it",
}
"""What a table has not, by the role of the method that is missing."""


def missing_references(
    names: Mapping[Reference, str | None], records: Mapping[str, Collection[Record]]
) -> dict[Reference, str]:
    """Return a note for each role whose method, wanted by name, has no row with results.

    `records` has the runs of each row by its label.
    """
    notes: dict[Reference, str] = {}
    for role, name in names.items():
        reason = None if name is None else _reason(name, records)
        if reason is not None:
            notes[role] = f"{LEFT_OUT[role].format(name=name)}: {reason}"
    return notes


def _reason(name: str, records: Mapping[str, Collection[Record]]) -> str | None:
    if name in records:
        diverged = all(record.status != "done" for record in records[name])
        return f"every run of {name} diverged" if diverged else None
    labels = [label for label, runs in records.items() if any(run.spec.method.name == name for run in runs)]
    if labels:
        return f"it has rows with several settings, {' and '.join(labels)}: choose one with --baseline"
    return "it has no finished run in this setting; add it to the methods"

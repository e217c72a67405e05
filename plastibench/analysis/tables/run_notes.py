"""What tables say of their runs: missing references, short stages, settings, origin."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from plastibench.analysis.labels import record_settings
from plastibench.store.record import DATA_DIGITS, Record, device_name
from plastibench.store.run_metrics import RunMetrics

Runs = Mapping[int, RunMetrics]
"""The runs of a method by seed."""
Reference = Literal["baseline", "cost_reference"]
"""What the methods that others are compared with are for."""
LEFT_OUT: dict[Reference, str] = {
    "baseline": "no gains over {name}, the baseline",
    "cost_reference": "no gains over {name}, no relative costs and no cost to match it",
}
"""What a table has not, by the role of the method that is missing."""
MOMENTUM = 0.1
"""Weight of a batch in the running statistics: torch's default, which all models here use."""
NEGLIGIBLE = 0.001
"""Weight of the statistics from before the stage that no longer matters.

In the study of precision (results/precision.md) test accuracy collapsed after stages of 16 and 45 steps.
"""
MIN_STEPS = math.ceil(math.log(NEGLIGIBLE) / math.log(1 - MOMENTUM))
"""Steps in which the older statistics become negligible: after fewer, they lag behind the weights."""


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


def short_stages_note(runs: Mapping[str, Runs]) -> tuple[str, ...]:
    """Return a note with each method's number of stages of fewer than `MIN_STEPS` steps, if there are any."""
    steps = {
        name: [n for run in by_seed.values() for n in run.steps] for name, by_seed in sorted(runs.items())
    }
    short = {name: sum(n < MIN_STEPS for n in stages) for name, stages in steps.items()}
    if not any(short.values()):
        return ()
    counts = ", ".join(f"{name} {count} of {len(steps[name])}" for name, count in short.items() if count)
    return (
        f"stages of fewer than {MIN_STEPS} steps, after which batch-norm running statistics may still hold "
        f"more than {100 * NEGLIGIBLE:g} % of their values from before the stage: {counts}",
    )


def origin_notes(group: Sequence[Record]) -> tuple[str, ...]:
    """Return the settings of each method, and what the runs were executed with."""
    # The seeds of a method that were read from an index share their description and their provenance.
    provenances = {id(record.provenance): record.provenance for record in group}.values()
    distinct = {(id(record.spec.method), id(record.provenance)): record for record in group}.values()
    origins = []
    origins.append(f"device {' and '.join(sorted(set(map(device_name, provenances))))}")
    for name in ("torch", "plastibench", "commit", "data"):
        digits = DATA_DIGITS if name == "data" else None
        values = sorted({str(provenance.get(name))[:digits] for provenance in provenances})
        origins.append(f"{name} {' and '.join(values)}")
    return (*sorted({record_settings(record) for record in distinct}), "; ".join(origins))

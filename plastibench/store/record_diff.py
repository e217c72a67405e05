"""Two records of one run, compared number by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plastibench.store.record import Record
from plastibench.store.run_metrics import HARDWARE_DEPENDENT

DECIDES_ROUNDING = ("torch", "device", "threads", "deterministic", "compiler", "plastibench")
"""Of a record's provenance: where these differ, the last bits of a sum can, and with them everything."""


def differences(first: Record, second: Record, where: tuple[str, str]) -> Iterator[str]:
    """Yield what two runs of one description have different, clocks and memory left out.

    `where` says, for each of the two, where it is: "in the record" and "now", say.
    """
    if first.status != second.status:
        yield f"status: {first.status} {where[0]}, {second.status} {where[1]}"
    if len(first.stages) != len(second.stages):
        yield f"stages: {len(first.stages)} {where[0]}, {len(second.stages)} {where[1]}"
    yield from _weights(first, second, where)
    for old, new in zip(first.stages, second.stages, strict=False):
        for name in _compared(old):
            if name in new and old[name] != new[name]:
                yield f"stage {old['index'] + 1}, {name}: {old[name]} {where[0]}, {new[name]} {where[1]}"


def _weights(first: Record, second: Record, where: tuple[str, str]) -> Iterator[str]:
    old, new = (record.provenance.get("weights") for record in (first, second))
    if None not in (old, new) and old != new:  # older records do not have it
        yield f"last weights: {old} {where[0]}, {new} {where[1]}"


def _compared(row: Mapping[str, Any]) -> list[str]:
    return [name for name in row if not name.endswith(HARDWARE_DEPENDENT)]


def likely_causes(first: Record, second: Record) -> str:
    """Return what could make the bits of two runs differ, in a line; empty where nothing is known to."""
    return ", ".join(
        f"{what} {first.provenance.get(what)} and {second.provenance.get(what)}"
        for what in DECIDES_ROUNDING
        if first.provenance.get(what) != second.provenance.get(what)
    )

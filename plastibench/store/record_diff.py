"""Comparison of two records of one run, number by number."""

from collections.abc import Iterator

from plastibench.store.record import Record
from plastibench.store.run_metrics import HARDWARE_DEPENDENT

AFFECTS_ROUNDING = ("torch", "device", "devices", "threads", "deterministic", "compiler", "plastibench")
"""Fields of the provenance: if one differs, the last bits of a sum may differ, and everything after it."""

ABSENT = "absent"
"""What is shown of a column that only the other record has."""


def differences(first: Record, second: Record, labels: tuple[str, str]) -> Iterator[str]:
    """Yield the differences of two records of one run, except times, memory and energy.

    `labels` says where each of them is, such as "in the record" and "now".
    """

    def describe(what: str, old: object, new: object) -> str:
        return f"{what}: {old} {labels[0]}, {new} {labels[1]}"

    if differ_in_data(first, second):
        yield describe("data", first.data, second.data)
    if first.status != second.status:
        yield describe("status", first.status, second.status)
    if len(first.stages) != len(second.stages):
        yield describe("stages", len(first.stages), len(second.stages))
    weights = [record.provenance.get("weights") for record in (first, second)]
    if None not in weights and weights[0] != weights[1]:  # older records do not have them
        yield describe("last weights", *weights)
    same_columns = first.provenance.get("plastibench") == second.provenance.get("plastibench")
    for old, new in zip(first.stages, second.stages, strict=False):
        for name in dict.fromkeys((*old, *new)):
            shared = name in old and name in new
            if name in HARDWARE_DEPENDENT or not (shared or same_columns):
                continue  # another version may measure more or less
            values = [stage.get(name, ABSENT) for stage in (old, new)]
            if values[0] != values[1]:
                yield describe(f"stage {old['index'] + 1}, {name}", *values)


def differ_in_data(first: Record, second: Record) -> bool:
    """Return whether two records of one run were made on different data; older records do not say."""
    return None not in (first.data, second.data) and first.data != second.data


def likely_causes(first: Record, second: Record) -> str:
    """Return what may have changed the bits of two runs on the same data; empty if nothing is known to."""
    return ", ".join(
        f"{field} {first.provenance.get(field)} and {second.provenance.get(field)}"
        for field in AFFECTS_ROUNDING
        if first.provenance.get(field) != second.provenance.get(field)
    )

"""A finished run in short: what tables need of it, in few bytes; its stages are read when asked for."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record
from plastibench.store.run_metrics import COSTS, RunMetrics
from plastibench.store.run_store import Store

ORIGIN = ("device", "threads", "torch", "plastibench", "commit", "data", "tuned")
"""Of a record's provenance: what a summary has, too."""


class RunSummary(Record):
    """A record whose provenance is `ORIGIN` alone, and whose stages are read from its file when needed."""

    packed: bytes
    store: Store

    def __init__(
        self, spec: Spec, status: str, provenance: Mapping[str, Any], packed: bytes, store: Store
    ) -> None:
        # Not by Record, which would want the stages.
        vars(self).update(spec=spec, status=status, provenance=provenance, packed=packed, store=store)

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """Return the stages. Raises ValueError where the file was removed or damaged meanwhile."""
        # Read when asked for: as a rule nobody does.
        record = self.store.read(self.id)
        if record is None:
            raise ValueError(f"run {self.id} was removed or damaged while it was looked at")
        return record.stages

    @cached_property
    def metrics(self) -> RunMetrics:
        """Return the accuracies and sums of a run that was tested."""
        return unpack(self.packed, self.spec.seed, self.hardware)

    def with_provenance(self, **more: object) -> Record:
        """Return the same with more in its provenance."""
        return RunSummary(self.spec, self.status, {**self.provenance, **more}, self.packed, self.store)


def head(record: Record) -> str:
    """Return as text what the seeds of a method under one setting share: description and origin."""
    spec = record.spec.as_dict()
    del spec["seed"]
    origin = {name: record.provenance[name] for name in ORIGIN if name in record.provenance}
    return canonical({"spec": spec, "provenance": origin})


def pack(record: Record) -> bytes:
    """Return the outcome of a run in eight bytes a number; nothing for a run that no average has."""
    if record.spec.sealed or record.status != "done":
        return b""
    found = record.metrics
    costs = (math.nan if (value := found.cost[name]) is None else value for name in COSTS)
    return array("d", [*found.accuracies, *found.steps, *found.passes, *costs]).tobytes()


def unpack(packed: bytes, seed: int, hardware: str) -> RunMetrics:
    """Return the outcome that `pack` packed."""
    values = array("d", packed).tolist()
    stages = (len(values) - len(COSTS)) // 3
    cost: dict[str, float | None] = dict(zip(COSTS, values[3 * stages :], strict=True))
    for name in [name for name, value in cost.items() if value != value]:  # noqa: PLR0124 - NaN: absent
        cost[name] = None
    return RunMetrics(
        seed=seed,
        accuracies=tuple(values[:stages]),
        steps=tuple(map(int, values[stages : 2 * stages])),
        passes=tuple(map(int, values[2 * stages : 3 * stages])),
        cost=cost,
        hardware=hardware,
    )

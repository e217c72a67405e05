"""What the runs of a method under one setting share, saved once for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.record import Record, RunSummary, StageRow, hardware_name
from plastibench.store.run_metrics import RunMetrics

PROVENANCE = (
    *("device", "devices", "threads", "torch", "plastibench", "commit", "data", "files"),
    *("tuned", "untouched", "recipe_changes", "model_changes"),
)
"""The fields of a record's provenance that are saved."""


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ only in their seeds and results."""

    spec: Spec
    """With seed 0."""
    provenance: Mapping[str, Any]
    hardware: str

    @staticmethod
    def to_json(record: Record) -> str:
        """Return the description of a record's group; all of its runs have the same."""
        spec = record.spec.as_dict()
        del spec["seed"]
        provenance = {name: record.provenance[name] for name in PROVENANCE if name in record.provenance}
        return canonical({"spec": spec, "provenance": provenance})

    @classmethod
    def from_json(cls, text: str) -> RunGroup:
        """Parse a description. Raises ValueError, KeyError or TypeError if it is damaged."""
        fields = json.loads(text)
        spec, provenance = Spec.from_dict({**fields["spec"], "seed": 0}), fields["provenance"]
        return cls(spec, provenance, hardware_name(provenance))

    def record(
        self, seed: int, status: str, metrics: RunMetrics | None, stages: Sequence[StageRow] = ()
    ) -> Record:
        """Return the record of a run of the group."""
        summary = RunSummary(self.spec.condition_id, self.spec.variant_id, metrics)
        return Record(replace(self.spec, seed=seed), status, stages, self.provenance, summary)

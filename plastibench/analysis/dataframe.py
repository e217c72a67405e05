"""Finished runs as a pandas data frame, for notebooks and for analyses of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plastibench.analysis.labels import method_labels, setting_label
from plastibench.store.record import Record

if TYPE_CHECKING:
    import pandas as pd


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a stage: which run, method, seed and setting, and the fields of the stage's result.

    `frame(Store(home).records())` is everything in a home folder. Runs with different `setting_id`
    differ in what decides the numbers: do not average over them.
    """
    import pandas as pd

    found = list(records)
    labels = method_labels([record.spec.method for record in found])
    return pd.DataFrame(
        {
            "run": record.id,
            "condition_id": record.spec.condition_id(),
            "setting": setting_label(record.spec),
            "task": record.spec.task.name,
            "model": record.spec.model.name,
            "method": label,
            "seed": record.spec.seed,
            "status": record.status,
            **stage,
        }
        for record, label in zip(found, labels, strict=True)
        for stage in record.stages
    )

"""Finished runs as a pandas data frame, for notebooks and further analysis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plastibench.analysis.labels import method_labels, setting_label
from plastibench.store.record import Record
from plastibench.store.tuned_settings import condition_id

if TYPE_CHECKING:
    import pandas as pd


def to_dataframe(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per stage: the run, its method, seed and setting, and the fields of the stage's result.

    `recipe_changes` has what the method changes of the setting's recipe.

    `to_dataframe(Store(home).records())` holds all finished runs of a home folder. Runs of different
    `condition_id`, which stands for the setting and the data, are not comparable: do not average over them.
    `attrs["units"]` has the units of what probes measure, by column.
    """
    import pandas as pd

    records = list(records)
    labels = method_labels([record.spec.method for record in records])
    frame = pd.DataFrame(
        {
            "run": record.id,
            "condition_id": condition_id(record),
            "setting": setting_label(record.spec),
            "task": record.spec.task.name,
            "model": record.spec.model.name,
            "method": label,
            "seed": record.spec.seed,
            "status": record.status,
            "recipe_changes": record.provenance.get("recipe_changes"),
            **stage,
        }
        for record, label in zip(records, labels, strict=True)
        for stage in record.stages
    )
    frame.attrs["units"] = {name: unit for record in records for name, unit in record.units.items()}
    return frame

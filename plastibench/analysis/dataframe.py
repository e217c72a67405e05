"""Finished runs as a pandas data frame, for notebooks and further analysis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plastibench.analysis.labels import method_labels, setting_label
from plastibench.plugins.values import show
from plastibench.store.record import Record
from plastibench.store.tuned_settings import condition_id

if TYPE_CHECKING:
    import pandas as pd


def to_dataframe(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per stage: the run, its method, seed and setting, and the fields of the stage's result.

    Stages are counted from 1. Settings of methods are columns such as `dash.floor`, empty for other methods.
    `recipe_changes` has what the method changes of the setting's recipe. No column has the name of an
    attribute of data frames.

    `to_dataframe(Store(home).records())` holds all finished runs of a home folder. Runs of different
    `condition_id`, which stands for the setting and the data, are not comparable: do not average over them.
    `attrs["units"]` has the units of what probes measure, by column.
    """
    import pandas as pd

    records = list(records)
    settings = dict.fromkeys(name for record in records for name in _method_settings(record))
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
            **settings,
            **_method_settings(record),
            "stage": stage["index"] + 1,
            **{name: value for name, value in stage.items() if name != "index"},
        }
        for record, label in zip(records, labels, strict=True)
        for stage in record.stages
    )
    frame.attrs["units"] = {name: unit for record in records for name, unit in record.units.items()}
    return frame


def _method_settings(record: Record) -> dict[str, Any]:
    """Return the settings of the method by their full names; lists as text."""
    method = record.spec.method
    values = {
        name: show(value) if isinstance(value, list | tuple) else value
        for name, value in method.settings.items()
    }
    return {f"{method.name}.{name}": value for name, value in values.items()}

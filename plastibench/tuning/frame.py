"""The trials of studies as a pandas data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plastibench.tuning.trials import COSTS, REASON, finished_trials, published_trial

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from optuna.trial import FrozenTrial


def trials_frame(studies: Iterable[optuna.Study]) -> pd.DataFrame:
    """Return one row per finished trial: its settings, the value of each objective, and what it cost.

    No column has the name of an attribute of data frames.
    """
    import pandas as pd

    return pd.DataFrame(_row(study, trial) for study in studies for trial in finished_trials(study))


def _row(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    objectives = study.user_attrs["facts"]["objective"]
    values = trial.values or [None] * len(objectives)
    costs = trial.user_attrs.get(COSTS, {})
    published = published_trial(study)
    return {
        "study": study.study_name,
        "method": study.user_attrs["grid"]["method"],
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "is_published": published is not None and published.number == trial.number,
        "reason": trial.user_attrs.get(REASON),
        **trial.params,
        **{f"objective_{name}": value for name, value in zip(objectives, values, strict=True)},
        **{f"spent_{unit}": amount for unit, amount in costs.items()},
        "seconds": trial.user_attrs.get("seconds"),
    }

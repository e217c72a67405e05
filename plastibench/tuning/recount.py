"""What the trials of studies say of the settings that they chose, whatever is noted beside runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.errors import RequestError, count
from plastibench.store.tuned_settings import FOLDER, TunedSettings, format_cost
from plastibench.tuning.storage import JOURNAL, open_storage
from plastibench.tuning.trials import best_trials, finished_trials, trial_costs

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)


def recount(home: Path, chosen: Mapping[str, TunedSettings]) -> dict[str, TunedSettings]:
    """Return settings with the number and the cost of trials that their studies in a home folder have.

    Those of studies that are elsewhere stay as they are. Raises RequestError for a trial that its study does
    not have, and if the trials cannot be read.
    """
    if not chosen or not (home / FOLDER / JOURNAL).is_file():
        return dict(chosen)
    storage = open_storage(home, None)
    import optuna

    names = {origin.study for origin in chosen.values()} & set(optuna.get_all_study_names(storage))
    studies = {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    return {
        variant: _recount(studies[origin.study], origin) if origin.study in studies else origin
        for variant, origin in chosen.items()
    }


def _recount(study: optuna.Study, origin: TunedSettings) -> TunedSettings:
    """Return settings as the trials say: all of them, or if a later trial was better those before it.

    Then the settings are an earlier choice, which took at least the trials up to the chosen one.
    """
    # A finished trial has a time; the order is that in which the trials could be known.
    finished = sorted(finished_trials(study), key=lambda trial: (str(trial.datetime_complete), trial.number))
    numbers = [trial.number for trial in finished]
    if origin.trial not in numbers:
        raise RequestError(
            f"trial {origin.trial} of study {study.study_name}, which settings are said to be of, is not "
            f"among its {count(len(numbers), 'finished trial')}"
        )
    is_best = any(trial.number == origin.trial for trial in best_trials(study))
    needed = len(finished) if is_best else max(origin.trials, numbers.index(origin.trial) + 1)
    counted = finished[:needed]
    found = replace(origin, trials=len(counted)).with_cost(trial_costs(counted))
    if _is_less(origin, found):
        logger.warning(
            "study %s: %s as its trials say, not %s",
            *(study.study_name, _describe(found), _describe(origin)),
        )
    return found


def _is_less(said: TunedSettings, found: TunedSettings) -> bool:
    """Return whether settings are said to have taken less than they did; sums of floats may differ."""
    return said.trials < found.trials or any(
        value < found.cost.get(name, value) * (1 - 1e-9) for name, value in said.cost.items()
    )


def _describe(origin: TunedSettings) -> str:
    return ", ".join(filter(None, (count(origin.trials, "trial"), format_cost(origin.cost))))

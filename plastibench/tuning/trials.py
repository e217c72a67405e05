"""Trials of an Optuna study: which of them count, and which are the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SURPLUS, REASON, RETRY_OF, OWNER, COSTS = "surplus", "reason", "retry_of", "owner", "spent"
"""User attributes of a trial: beyond the budget; why it failed or was pruned; what it repeats; its
worker; its costs."""
PROPOSAL = "proposal"
"""User attribute of a trial: the sampler, its seed, and the trials that were finished and running then."""
RULE = "pruning_rule"
"""User attribute of a pruned trial: the rule that ended it."""


def is_waiting(trial: FrozenTrial) -> bool:
    """Return whether a trial is in the queue."""
    return trial.state.name == "WAITING"


def is_lost(trial: FrozenTrial) -> bool:
    """Return whether the worker of a trial died; its parameters are, or will be, in the queue again."""
    return trial.state.name == "FAIL" and REASON not in trial.user_attrs and SURPLUS not in trial.user_attrs


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that a budget counts, in the order of their numbers."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if SURPLUS not in trial.user_attrs and not is_lost(trial)]


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that a budget counts and that are complete, pruned or failed."""
    return [trial for trial in counted_trials(study) if trial.state.is_finished()]


def published_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the trial of the published settings, trial 0 or what repeats it; None if it has not begun."""
    defaults = study.user_attrs["defaults"]
    return next((trial for trial in counted_trials(study) if trial.params == defaults), None)


def trial_costs(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return what trials took together, pruned and failed ones too, by the names that costs of runs have.

    What a trial does not say is left out: FLOPs that its device cannot count, and costs of older trials.
    """
    spent = [trial.user_attrs.get(COSTS, {}) for trial in trials]
    units = set.intersection(*map(set, spent)) if spent else set[str]()
    totals = {unit: math.fsum(costs[unit] for costs in spent) for unit in units}
    if "hours" in totals:
        totals["seconds"] = round(3600 * totals.pop("hours"), 3)
    return dict(sorted(totals.items()))


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best trial, the first of equals, or the Pareto front of a study with two objectives."""
    front = study.best_trials
    return front if len(study.directions) > 1 else front[:1]

"""Studies in Optuna: trials are proposed within a budget, and again if their worker died."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.errors import RequestError
from plastibench.seeding import derive_seed
from plastibench.store.tuned_settings import FOLDER
from plastibench.system.locks import file_lock
from plastibench.tuning.budget import Budget
from plastibench.tuning.heartbeat import TrialOwner, TuningWorker
from plastibench.tuning.plan import DATA, StudyPlan
from plastibench.tuning.trials import (
    COSTS,
    OWNER,
    PROPOSAL,
    RETRY_OF,
    SURPLUS,
    counted_trials,
    finished_trials,
    is_lost,
    is_waiting,
)

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import TPESampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

LOCK = ".lock"
NUM_STARTUP_TRIALS = 8
"""Random trials before the sampler's model is used, the published values among them."""


@dataclass(frozen=True)
class TuningStudy:
    """An Optuna study and its plan."""

    plan: StudyPlan
    study: optuna.Study
    lock_file: Path
    """Locked while trials are counted and proposed: workers of one host never exceed a budget."""

    @classmethod
    def open(cls, plan: StudyPlan, storage: BaseStorage, home: Path) -> TuningStudy:
        """Load or create the study. Raises RequestError if its terms have changed."""
        import optuna

        study = optuna.create_study(
            study_name=plan.study_name,
            storage=storage,
            directions=plan.config.directions,
            load_if_exists=True,
        )
        lock_file = home / FOLDER / LOCK
        with file_lock(lock_file):
            _check_terms(study, plan)
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(plan.defaults(), skip_if_exists=True)
        return cls(plan, study, lock_file)

    def counted_trials(self) -> list[FrozenTrial]:
        """Return the trials that a budget counts, in the order of their numbers."""
        return counted_trials(self.study)

    def finished_trials(self) -> list[FrozenTrial]:
        """Return the trials that a budget counts and that are complete, pruned or failed."""
        return finished_trials(self.study)

    def used(self, budget: Budget) -> float:
        """Return what the finished trials used of a budget, in its unit."""
        trials = self.finished_trials()
        if budget.unit == "trials":
            return len(trials)
        return sum(float(trial.user_attrs.get(COSTS, {}).get(budget.unit, 0.0)) for trial in trials)

    def requeue_lost_trials(self, home: Path) -> int:
        """Enqueue the parameters of trials whose worker died; return how many.

        Optuna's own retries need a relational storage and `Study.optimize`.
        """
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and not _owner(trial).is_alive(home):
                self._fail(trial.number)
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        lost = [trial for trial in trials if is_lost(trial) and trial.number not in retried]
        for trial in lost:
            # A process can die after it took a trial from the queue and before it read its parameters.
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            self.study.enqueue_trial(dict(params), user_attrs={RETRY_OF: trial.number})
        return len(lost)

    def ask(self, budget: Budget, worker: TuningWorker) -> Trial | None:
        """Return the next trial, or None if the budget is used up."""
        with file_lock(self.lock_file):
            self.requeue_lost_trials(worker.home)
            trial = self._propose(worker) if self._is_left(budget) else None
        if trial is not None and self._is_surplus(trial, budget):
            trial.set_user_attr(SURPLUS, True)
            self._fail(trial.number)
            return None
        return trial

    def requeue(self, trial: Trial, home: Path) -> None:
        """End a trial that was interrupted, and enqueue its parameters."""
        self._fail(trial.number)
        self.requeue_lost_trials(home)

    def _fail(self, number: int) -> None:
        from optuna.trial import TrialState

        # Another process may have ended it first.
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _is_left(self, budget: Budget) -> bool:
        """Return whether a budget is left, if running trials cost as much as finished ones."""
        trials = [trial for trial in self.counted_trials() if not is_waiting(trial)]
        if budget.unit == "trials":
            return len(trials) < budget.amount
        used, num_finished = self.used(budget), sum(trial.state.is_finished() for trial in trials)
        return used * len(trials) / max(1, num_finished) < budget.amount

    def _is_surplus(self, trial: Trial, budget: Budget) -> bool:
        """Return whether other hosts, which may ask at the same moment, have used the budget before."""
        earlier = [
            other for other in self.counted_trials() if other.number < trial.number and not is_waiting(other)
        ]
        return budget.unit == "trials" and len(earlier) >= budget.amount

    def _propose(self, worker: TuningWorker) -> Trial:
        """Return a trial that depends on the trials so far, not on restarts, and says what it depends on."""
        trials = self.counted_trials()
        seed = derive_seed("tuning", self.plan.study_name, len(trials), worker.stream) % 2**32
        self.study.sampler = _sampler(seed)
        trial = self.study.ask({d.name: d.distribution() for d in self.plan.dimensions})
        trial.set_user_attr(OWNER, worker.owner())
        judged = [each.number for each in trials if each.state.name in ("COMPLETE", "PRUNED")]
        running = [each.number for each in trials if each.state.name == "RUNNING"]
        options = {"sampler": "TPESampler", "seed": seed, "constant_liar": True}
        trial.set_user_attr(PROPOSAL, {**options, "after": judged, "beside": running})
        return trial


def _sampler(seed: int) -> TPESampler:
    """Return a sampler that takes running trials to be bad ones, and so proposes others beside them."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # so Optuna called it before version 5
        return TPESampler(seed=seed, n_startup_trials=NUM_STARTUP_TRIALS, constant_liar=True)


def _owner(trial: FrozenTrial) -> TrialOwner:
    """Return the worker of a trial; one that was just proposed has none for a moment."""
    if OWNER in trial.user_attrs:
        return TrialOwner(**trial.user_attrs[OWNER])
    return TrialOwner(beat=trial.datetime_start.timestamp() if trial.datetime_start else 0.0)


def _check_terms(study: optuna.Study, plan: StudyPlan) -> None:
    """Store the terms of a new study; raise RequestError if those of an old one differ."""
    directions = plan.config.directions
    old_directions = [direction.name.lower() for direction in study.directions]
    if old_directions != directions:
        raise RequestError(
            f"study {plan.study_name} was made with another direction ({', '.join(old_directions)}; now "
            f"{', '.join(directions)}): begin another tuning with --name"
        )
    has_trials = bool(study.get_trials(deepcopy=False))  # before its terms: another process may add both
    terms = json.loads(json.dumps(plan.fixed_terms()))
    stored = study.user_attrs.get("facts")
    if stored is None and has_trials:
        raise RequestError(
            f"study {plan.study_name} has trials of another program, whose metric and search space are not "
            "known: begin another tuning with --name"
        )
    if stored is None:
        study.set_user_attr("facts", terms)
        stored = terms
    elif DATA not in stored:  # a study of an earlier version
        stored = {**stored, DATA: terms[DATA]}
        study.set_user_attr("facts", stored)
    for term, value in terms.items():
        if stored.get(term) != value:
            raise RequestError(
                f"study {plan.study_name} was made with another {term} ({_format(stored.get(term))}; now "
                f"{_format(value)}): give the old one, or begin another tuning with --name"
            )
    study.set_user_attr("grid", plan.grid_table())
    study.set_user_attr("defaults", plan.defaults())
    study.set_user_attr("stages", plan.num_stages)


def _format(term: object) -> str:
    if isinstance(term, list) and term and isinstance(term[0], dict):
        return ", ".join(f"{d['name']} {d['low']:g}..{d['high']:g}{' log' * d['log']}" for d in term)
    return ",".join(map(str, term)) if isinstance(term, list) else json.dumps(term)

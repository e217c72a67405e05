"""Trials in Optuna: proposed, judged, and proposed again where the process at work on them died."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError, explain
from plastibench.seeding import derive_seed
from plastibench.store.tuned_settings import FOLDER
from plastibench.system.locks import file_lock
from plastibench.tuning import heartbeat
from plastibench.tuning.budget import Budget
from plastibench.tuning.objective import OBJECTIVES
from plastibench.tuning.plan import StudyPlan

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

LOCK = ".lock"
STARTUP = 8
"""Trials at random before the sampler has learnt, the published values among them; and before pruning."""
SURPLUS, REASON, RETRY, OWNER, SPENT = "surplus", "reason", "retry_of", "owner", "spent"


@dataclass
class TuningStudy:
    """The trials of one plan."""

    plan: StudyPlan
    study: optuna.Study
    lock: Path
    """Held while trials are counted and asked for: workers of one host never take more than there are."""

    @classmethod
    def open(cls, plan: StudyPlan, store: BaseStorage, home: Path) -> TuningStudy:
        """Find or make the study. Raises RequestError where it was made on other terms."""
        import optuna

        study = optuna.create_study(
            study_name=plan.study_name,
            storage=store,
            directions=[OBJECTIVES[name].direction for name in plan.config.objectives],
            load_if_exists=True,
            pruner=_pruner(plan),
        )
        with file_lock(home / FOLDER / LOCK):
            _agree(study, plan)
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(plan.defaults(), skip_if_exists=True)
        return cls(plan, study, home / FOLDER / LOCK)

    def counted_trials(self) -> list[FrozenTrial]:
        """Return the trials that count, in the order of their numbers."""
        return _counting(self.study)

    def finished_trials(self) -> list[FrozenTrial]:
        """Return the trials that count and are over: judged, pruned or failed."""
        return finished_trials(self.study)

    def used(self, budget: Budget) -> float:
        """Return what the ended trials used of a budget, in its unit."""
        if budget.unit == "trials":
            return len(self.finished_trials())
        return sum(
            float(trial.user_attrs.get(SPENT, {}).get(budget.unit, 0.0)) for trial in self.finished_trials()
        )

    def requeue_lost_trials(self, home: Path) -> int:
        """Put the parameters of trials whose process died back into the queue; return how many."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == TrialState.RUNNING and not heartbeat.is_alive(_owner(trial), home):
                self._end(trial)
        trials = self.study.get_trials(deepcopy=False)
        queued = {trial.user_attrs.get(RETRY) for trial in trials}
        lost = [trial for trial in trials if _lost(trial) and trial.number not in queued]
        for trial in lost:
            # A process can die after it took a trial from the queue and before it read its parameters.
            values = trial.params or trial.system_attrs.get("fixed_params", {})
            self.study.enqueue_trial(dict(values), user_attrs={RETRY: trial.number})
        return len(lost)

    def _end(self, trial: FrozenTrial) -> None:
        from optuna.trial import TrialState

        try:
            self.study.tell(trial.number, state=TrialState.FAIL)
        except ValueError:
            return  # another process saw it first

    @contextmanager
    def next_trial(self, budget: Budget, worker: heartbeat.TuningWorker) -> Iterator[Trial | None]:
        """Give the next trial, or None where the budget is used up; it is told how it ended inside."""
        with file_lock(self.lock):
            self.requeue_lost_trials(worker.home)
            trial = self._ask(worker) if self._may_ask(budget) else None
        if trial is not None and self._is_surplus(trial, budget):
            trial.set_user_attr(SURPLUS, True)
            self.fail(trial)
            trial = None
        try:
            yield trial
        except BaseException as error:
            if trial is not None:
                reason = None if isinstance(error, KeyboardInterrupt | SystemExit) else explain(error)
                self.fail(trial, reason)
                if reason is None:
                    self.requeue_lost_trials(worker.home)
            raise

    def fail(self, trial: Trial, reason: str | None = None) -> None:
        """End a trial without a value; without a reason its parameters are tried again."""
        from optuna.trial import TrialState

        if reason is not None:
            trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def complete(self, trial: Trial, values: Sequence[float]) -> None:
        """End a trial with its values."""
        self.study.tell(trial, list(values))

    def prune(self, trial: Trial) -> None:
        """End a trial that was not worth going on with."""
        from optuna.trial import TrialState

        self.study.tell(trial, state=TrialState.PRUNED)

    def _may_ask(self, budget: Budget) -> bool:
        """Count what is used, and what trials under way will use, taken to be as dear as the others."""
        trials = self.counted_trials()
        under_way = sum(not trial.state.is_finished() and not _waits(trial) for trial in trials)
        if budget.unit == "trials":
            return len(trials) - sum(map(_waits, trials)) < budget.amount
        ended = len(trials) - under_way - sum(map(_waits, trials))
        used = self.used(budget)
        return used + (under_way * used / ended if ended else 0.0) < budget.amount

    def _is_surplus(self, trial: Trial, budget: Budget) -> bool:
        """Two hosts may ask at the same moment: the numbers of the trials decide who stands back."""
        earlier = [
            other for other in self.counted_trials() if other.number < trial.number and not _waits(other)
        ]
        return budget.unit == "trials" and len(earlier) >= budget.amount

    def _ask(self, worker: heartbeat.TuningWorker) -> Trial:
        """The proposal depends on the trials so far and on the worker, on nothing that a restart changes."""
        from optuna.samplers import TPESampler

        seed = derive_seed("tuning", self.plan.study_name, len(self.counted_trials()), worker.stream) % 2**32
        self.study.sampler = TPESampler(seed=seed, n_startup_trials=STARTUP)
        trial = self.study.ask(fixed_distributions=_distributions(self.plan))
        trial.set_user_attr(OWNER, worker.owner())
        return trial


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that a budget counts and that are over: judged, pruned or failed."""
    return [trial for trial in _counting(study) if trial.state.is_finished()]


def _counting(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if SURPLUS not in trial.user_attrs and not _lost(trial)]


def _owner(trial: FrozenTrial) -> dict[str, Any]:
    """Return who is at work on a trial; for one that was just asked for, nobody known, from now on."""
    began = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
    nobody: dict[str, Any] = {"worker": "", "host": "", "home": "", "beat": began}
    found: dict[str, Any] = trial.user_attrs.get(OWNER, nobody)
    return found


def _waits(trial: FrozenTrial) -> bool:
    return trial.state.name == "WAITING"


def _lost(trial: FrozenTrial) -> bool:
    """Return whether the process of a trial died; its parameters stand in the queue again, or will."""
    return trial.state.name == "FAIL" and REASON not in trial.user_attrs and SURPLUS not in trial.user_attrs


def _distributions(plan: StudyPlan) -> dict[str, BaseDistribution]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        one.name: IntDistribution(int(one.low), int(one.high), log=one.log)
        if one.whole
        else FloatDistribution(one.low, one.high, log=one.log)
        for one in plan.dimensions
    }


def _pruner(plan: StudyPlan) -> optuna.pruners.BasePruner:
    """Return the rule by which stages end a trial early, the same for every method."""
    from optuna.pruners import MedianPruner, NopPruner

    if not plan.config.pruning or len(plan.config.objectives) > 1:
        return NopPruner()
    return MedianPruner(n_startup_trials=STARTUP // 2, n_warmup_steps=0)


def _agree(study: optuna.Study, plan: StudyPlan) -> None:
    """Keep the terms of a new study; refuse to go on with one that was made on others."""
    known = study.user_attrs.get("facts")
    facts = json.loads(json.dumps(plan.facts()))
    if known is None:
        study.set_user_attr("facts", facts)
    for what, now in facts.items():
        if known is not None and known.get(what) != now:
            raise RequestError(
                f"study {plan.study_name} was made with another {what} ({_told(known.get(what))}; now "
                f"{_told(now)}): give the old one, or begin another tuning with --name"
            )
    study.set_user_attr("grid", _grid(plan))
    study.set_user_attr("defaults", plan.defaults())
    study.set_user_attr("stages", plan.num_stages)


def _told(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(
            f"{one['name']} {one['low']:g}..{one['high']:g}{' log' * one['log']}" for one in value
        )
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value)


def _grid(plan: StudyPlan) -> dict[str, Any]:
    """Return the words with which a user asks for the method that is tuned."""
    grid = plan.grid
    words: dict[str, Any] = {"task": grid.tasks[0], "model": grid.models[0], "method": grid.methods[0]}
    if grid.recipe is not None:
        words["recipe"] = grid.recipe
    return words | {"seeds": list(grid.seeds), "device": grid.device, "set": dict(grid.settings)}


def best_trials(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the judged trial with the best value, or those that no other beats in both."""
    judged = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if len(study.directions) == 1:
        sign = 1 if study.directions[0].name == "MAXIMIZE" else -1
        return sorted(judged, key=lambda trial: (-sign * trial.values[0], trial.number))[:1]
    signs = [1 if direction.name == "MAXIMIZE" else -1 for direction in study.directions]
    points = [
        (trial, [sign * value for sign, value in zip(signs, trial.values, strict=True)]) for trial in judged
    ]
    return [
        trial
        for trial, own in points
        if not any(
            all(a >= b for a, b in zip(other, own, strict=True)) and other != own for _, other in points
        )
    ]

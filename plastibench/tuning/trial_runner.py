"""One worker: runs the next trial of the study that has used least, as runs of the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from plastibench.errors import explain
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.scheduler import RETRY_SECONDS
from plastibench.runner.worker import init_worker
from plastibench.store.record import other_data
from plastibench.store.run_status import RunLockedError
from plastibench.system import signals
from plastibench.training.callbacks import StopRequested
from plastibench.tuning.budget import Budget, run_costs
from plastibench.tuning.heartbeat import TuningWorker
from plastibench.tuning.objective import OBJECTIVES, objective_values
from plastibench.tuning.plan import StudyPlan
from plastibench.tuning.pruning import (
    SCORES,
    Pruned,
    StageScore,
    as_attribute,
    check_behind,
    check_limit,
    describe_published,
    published_scores,
)
from plastibench.tuning.storage import open_storage
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.trials import COSTS, OWNER, REASON, RULE

if TYPE_CHECKING:
    from optuna.trial import Trial, TrialState

    from plastibench.experiments.spec import Spec
    from plastibench.runner.slots import Slot
    from plastibench.store.record import Record


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs, as plain values that can be sent to other processes."""

    plans: tuple[StudyPlan, ...]
    budget: Budget
    context: RunContext
    storage_url: str | None = field(repr=False)
    """Address of an Optuna storage; None keeps the trials in the home folder."""

    def in_slot(self, slot: Slot) -> WorkerConfig:
        """Return the same for a worker that has a device, or its share of one."""
        context = replace(self.context, device=slot.device, num_processes=slot.num_processes)
        return replace(self, context=context)


def run_worker(config: WorkerConfig, on_trial_end: Callable[[], None] | None = None) -> None:
    """Run trials until every study has used its budget.

    Raises StopRequested if asked to stop: the interrupted trial continues later from its runs' checkpoints.
    """
    home, url = config.context.workspace.home, config.storage_url
    storage = open_storage(home, url)
    studies = [TuningStudy.open(plan, storage, home) for plan in config.plans]
    init_worker(config.context)
    with TuningWorker.start(home, is_shared=url is not None) as worker:
        while studies:
            _raise_if_stopped()
            study = min(studies, key=lambda study: (study.used(config.budget), study.plan.study_name))
            trial = study.ask(config.budget, worker)
            if trial is None:
                studies.remove(study)
                continue
            try:
                with worker.heartbeat(partial(trial.set_user_attr, OWNER)):
                    TrialRunner(study, trial, config.context).run()
            except KeyboardInterrupt:  # StopRequested too: the runs have saved their state
                study.requeue(trial, home)
                raise
            if on_trial_end is not None:
                on_trial_end()


def _raise_if_stopped() -> None:
    if signals.stop_requested():
        raise StopRequested("asked to stop")


class TrialRunner(RunCallback):
    """Runs one trial: its runs one after the other, each of whose stages is reported to Optuna."""

    def __init__(self, study: TuningStudy, trial: Trial, context: RunContext) -> None:
        self.study = study
        self.trial = trial
        self.context = context
        self.specs = study.plan.specs(trial.params)
        self.runs: list[list[dict[str, Any]]] = []
        """The stages of each run so far."""
        self.scores: list[StageScore] = []
        self.report_seconds = 0.0

    def run(self) -> None:
        """Run the trial; tell Optuna its values, that it is pruned, or that it failed."""
        import optuna
        from optuna.exceptions import StorageInternalError
        from optuna.trial import TrialState

        start = time.perf_counter()
        try:
            for spec in self.specs:
                self._run(spec)
        except optuna.TrialPruned:
            self._finish(start, TrialState.PRUNED)
        except (KeyboardInterrupt, StorageInternalError):  # not the trial's fault: it is tried again
            raise
        except BaseException as error:  # a plug-in may raise anything; other trials must go on
            self.trial.set_user_attr(REASON, explain(error))
            self._finish(start, TrialState.FAIL)
        else:
            self._finish(start, TrialState.COMPLETE)

    def _run(self, spec: Spec) -> None:
        """Execute a run, or read a finished one: the same stages are reported in both cases."""
        self.runs.append([])
        record, data = self._execute(spec), self.study.plan.data
        if record.data is not None and data is not None and record.data != data:
            raise other_data(f"run {spec.id} was made", record.data, data)
        for row in record.stages[len(self.runs[-1]) :]:
            self.on_stage_end(spec, row)

    def _execute(self, spec: Spec) -> Record:
        """Execute a run, or wait for the process that does: another trial may have the same settings."""
        while True:
            try:
                return execute(spec, self.context, [self])
            except RunLockedError:
                _raise_if_stopped()
                time.sleep(RETRY_SECONDS)

    def _finish(self, start: float, state: TrialState) -> None:
        seconds = time.perf_counter() - start
        self.trial.set_user_attr("runs", [spec.id for spec in self.specs[: len(self.runs)]])
        self.trial.set_user_attr(COSTS, run_costs(self.runs))
        self.trial.set_user_attr(SCORES, as_attribute(self.scores))
        self.trial.set_user_attr("seconds", seconds)
        self.trial.set_user_attr("in_runs", seconds - self.report_seconds)
        is_complete = state.name == "COMPLETE"
        if is_complete and self._is_published():
            target = self.study.plan.base_spec.recipe["target_accuracy"]
            if warning := describe_published(self.scores, target):
                self.trial.set_user_attr(REASON, warning)
        self.study.study.tell(self.trial, self._values() if is_complete else None, state)

    def _values(self) -> list[float]:
        plan = self.study.plan
        return objective_values(plan.config.objectives, self.runs, plan.num_stages)

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        """Report the value so far. Raises TrialPruned if a rule ends the trial here."""
        import optuna

        start, plan = time.perf_counter(), self.study.plan
        self.runs[-1].append(row)
        step = (len(self.runs) - 1) * plan.num_stages + int(row["index"])
        value, *_ = objective_values(plan.config.objectives, [[row]], num_stages=1)
        reached, *_ = self._values()
        stage, accuracy, stop = int(row["index"]), row["train_accuracy"], row["stop"]
        self.scores.append(StageScore(step, stage, value, reached, accuracy, stop))
        if len(plan.config.objectives) == 1:
            self.trial.report(reached, step)
        pruned = self._check()
        self.report_seconds += time.perf_counter() - start
        if pruned is not None:
            self.trial.set_user_attr(RULE, pruned.rule)
            self.trial.set_user_attr(REASON, pruned.reason)
            raise optuna.TrialPruned(pruned.reason)

    def _is_published(self) -> bool:
        return self.trial.params == self.study.plan.defaults()

    def _check(self) -> Pruned | None:
        """Return why the trial ends here, or None. The published settings are never pruned."""
        plan = self.study.plan
        if not plan.config.pruning or self._is_published():
            return None
        published = published_scores(self.study.study)
        pruned = check_limit(self.scores[-1], published)
        if pruned is None and len(plan.config.objectives) == 1:  # Optuna prunes by one objective only
            pruned = check_behind(self.scores, published, OBJECTIVES[plan.config.objectives[0]].sign)
        return pruned

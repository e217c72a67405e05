"""One worker: takes the next trial of the method that has used least, and carries it out as runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plastibench.errors import explain
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.queue import RETRY_SECONDS
from plastibench.runner.worker import init_worker
from plastibench.store.run_status import RunLockedError
from plastibench.system import signals
from plastibench.training.callbacks import StopRequested
from plastibench.tuning import objective
from plastibench.tuning.budget import Budget, run_costs
from plastibench.tuning.heartbeat import TuningWorker
from plastibench.tuning.plan import StudyPlan
from plastibench.tuning.storage import open_storage
from plastibench.tuning.study import OWNER, SPENT, TuningStudy

if TYPE_CHECKING:
    from optuna.trial import Trial

    from plastibench.experiments.spec import Spec
    from plastibench.store.record import Record


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know, as plain values that travel to other processes."""

    plans: tuple[StudyPlan, ...]
    budget: Budget
    context: RunContext
    storage_url: str | None
    """Of an Optuna storage; None keeps the trials in the home folder."""


class Pruned(Exception):  # noqa: N818 - not an error
    """A trial is worse than the others were at the same stage of the same seed."""


def run_worker(assignment: WorkerConfig, position: int = 0, after: Callable[[], None] | None = None) -> None:
    """Carry out trials until every study has used its budget; `after` is called after each.

    Raises Stopped where it is asked to stop: the trial under way is tried again, from where its runs are.
    """
    home, url = assignment.context.home, assignment.storage_url
    store = open_storage(home, url)
    studies = [TuningStudy.open(plan, store, home) for plan in assignment.plans]
    init_worker(assignment.context)
    with TuningWorker(home, position, shared=url is not None) as worker:
        open_ones = list(studies)
        while open_ones:
            _check()
            study = min(open_ones, key=lambda one: (one.used(assignment.budget), one.plan.study_name))
            if not _next(study, assignment, worker):
                open_ones.remove(study)
            elif after is not None:
                after()


def _check() -> None:
    if signals.stop_requested():
        raise StopRequested("asked to stop")


def _next(study: TuningStudy, assignment: WorkerConfig, worker: TuningWorker) -> bool:
    """Carry out the next trial of a study; return False where its budget is used up."""
    with study.next_trial(assignment.budget, worker) as trial:
        if trial is None:
            return False
        with worker.beating(lambda owner: trial.set_user_attr(OWNER, owner)):
            TrialRunner(study, trial, assignment.context).carry_out()
    return True


class TrialRunner(RunCallback):
    """One trial being carried out: its runs one after the other, each stage told to the study."""

    def __init__(self, study: TuningStudy, trial: Trial, context: RunContext) -> None:
        self.study = study
        self.trial = trial
        self.context = context
        self.runs: list[list[dict[str, Any]]] = []
        self.in_runs = 0.0
        """Seconds that went into runs."""
        self.telling = 0.0
        """Seconds that went into telling the study of stages."""

    def carry_out(self) -> None:
        """Judge the trial, or end it early, or keep the reason why it failed."""
        specs = self.study.plan.specs(self.trial.params)
        start = time.perf_counter()
        try:
            for spec in specs:
                self._run(spec)
        except Pruned:
            self._close(specs, start)
            self.study.prune(self.trial)
        except KeyboardInterrupt:  # also Stopped: the runs have kept their state
            raise
        except BaseException as error:  # a plug-in may raise anything; other trials must go on
            self._close(specs, start)
            self.study.fail(self.trial, explain(error))
        else:
            self._close(specs, start)
            plan = self.study.plan
            values = objective.objective_values(plan.config.objectives, self.runs, plan.num_stages)
            self.study.complete(self.trial, values)

    def _run(self, spec: Spec) -> None:
        """Carry out a run, or read it where it is finished: the study is told the same in both cases."""
        self.runs.append([])
        start, told = time.perf_counter(), self.telling
        try:
            record = self._executed(spec)
        finally:
            self.in_runs += time.perf_counter() - start - (self.telling - told)
        for row in record.stages[len(self.runs[-1]) :]:
            self.on_stage_end(spec, row)

    def _executed(self, spec: Spec) -> Record:
        """Carry a run out, or wait for who is at it: another trial may have the same settings."""
        while True:
            try:
                return execute(spec, self.context, [self])
            except RunLockedError:
                _check()
                time.sleep(RETRY_SECONDS)

    def _close(self, specs: Sequence[Spec], start: float) -> None:
        self.trial.set_user_attr("runs", [spec.id for spec in specs[: len(self.runs)]])
        self.trial.set_user_attr(SPENT, run_costs(self.runs))
        self.trial.set_user_attr("seconds", time.perf_counter() - start)
        self.trial.set_user_attr("in_runs", self.in_runs)

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        """Tell the study how the trial stands. Raises Pruned where that is not worth going on."""
        start = time.perf_counter()
        try:
            self._stage(row)
        finally:
            self.telling += time.perf_counter() - start

    def _stage(self, row: dict[str, Any]) -> None:
        self.runs[-1].append(row)
        plan = self.study.plan
        if len(plan.config.objectives) > 1 or not plan.config.pruning:
            return
        (value,) = objective.objective_values(plan.config.objectives, self.runs, plan.num_stages)
        self.trial.report(value, (len(self.runs) - 1) * plan.num_stages + int(row["index"]))
        if self.trial.should_prune():
            raise Pruned

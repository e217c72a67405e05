"""Search the settings of methods on validation data, each method with the same budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.console import describe_seconds
from plastibench.devices import Device, get_device
from plastibench.errors import RequestError, count, require, unknown
from plastibench.experiments import suites
from plastibench.experiments.spec import build, own_plugins
from plastibench.runner.context import RunContext
from plastibench.runner.data import prepare_data
from plastibench.runner.worker import keep_num_threads
from plastibench.store import plugin_files, tuned_settings
from plastibench.system import signals
from plastibench.system.processes import check_can_start
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import mirrored
from plastibench.tracking.follower import MirrorJob
from plastibench.tracking.studies import TuningSource
from plastibench.tuning import export, plots, summary
from plastibench.tuning.budget import Budget
from plastibench.tuning.callbacks import TuningCallback
from plastibench.tuning.plan import StudyConfig, StudyPlan, make_plans
from plastibench.tuning.storage import load_studies, open_storage, storage_errors, tuning_names
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.summary import StudySummary
from plastibench.tuning.time_left import seconds_left
from plastibench.tuning.trial_runner import WorkerConfig, run_worker
from plastibench.tuning.worker_pool import run_workers
from plastibench.workflows.estimate import announce_run_time
from plastibench.workflows.request import Selection
from plastibench.workflows.trial_logger import TrialLogger, TrialWatcher

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import BaseStorage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """Methods to tune."""

    selection: Selection
    """Its seeds are those to report; trials have seeds of their own."""
    config: StudyConfig
    budget: Budget
    name: str | None = None
    """None is a name made of what is tuned."""
    storage_url: str | None = field(default=None, repr=False)
    """Address of an Optuna storage; None keeps the trials in the home folder."""
    jobs: int = 1
    """Trials side by side."""
    threads: int | None = None
    """CPU threads of each trial; None is one, as in a grid of `run` that uses all cores."""
    mlflow: bool = True
    """Whether trials are mirrored to MLflow while they run."""
    tracking_uri: str | None = field(default=None, repr=False)
    """MLflow's address; None is a database in the home folder."""


@dataclass(frozen=True, repr=False)
class TuneResult:
    """What came out of a tuning."""

    name: str
    studies: list[TuningStudy]
    suite: Path | None
    """The suite with published and chosen settings; None if no trial was judged."""

    def __repr__(self) -> str:
        trials = sum(len(study.finished_trials()) for study in self.studies)
        studies = count(len(self.studies), "study", "studies")
        return f"<TuneResult {self.name!r}: {studies}, {count(trials, 'trial')}>"

    @property
    def frame(self) -> pd.DataFrame:
        """Return a row for each finished trial: its settings, the objectives' values, and what it cost."""
        from plastibench.tuning.frame import trials_frame

        return trials_frame(study.study for study in self.studies)

    @property
    def has_failures(self) -> bool:
        """Return whether a trial failed."""
        return any(trial.state.name == "FAIL" for study in self.studies for trial in study.finished_trials())


@dataclass(frozen=True)
class TuningReport:
    """What the trials of a tuning show."""

    summaries: list[StudySummary]
    figures: list[Path]


def tune(request: TuneRequest, callbacks: Sequence[TuningCallback] = ()) -> TuneResult:
    """Run the trials that each method's budget allows, and write the suite of the best settings.

    A trial that fails costs no other trial. Raises RequestError for a request that cannot be met.
    """
    require("optuna", "`tune`")
    selection, home = quick_start_stages(request.selection), request.selection.workspace.home
    request = replace(request, selection=selection)
    name = request.name or _default_name(selection)
    plans = make_plans(
        selection.resolved_suite, selection.specs, selection.workspace.registry, request.config, name
    )
    suite_name = tuned_settings.suite_path(home, name).stem
    if request.jobs > 1:
        check_can_start(f"jobs={request.jobs}")
    job, device = _mirror_job(request, suite_name), _open_device(selection)
    plans = _with_data(plans, RunContext(selection.workspace, str(device)))
    storage = open_storage(home, request.storage_url)
    with storage_errors(request.storage_url):
        studies = [TuningStudy.open(plan, storage, home) for plan in plans]
        _use_budget(request, studies, device, job, [TrialLogger(), *callbacks])
        _keep_plugins(request, suite_name, plans)
        return TuneResult(suite_name, studies, export.write_suite(storage, suite_name, home))


def _use_budget(
    request: TuneRequest,
    studies: Sequence[TuningStudy],
    device: Device,
    job: MirrorJob | None,
    callbacks: Sequence[TuningCallback],
) -> None:
    """Run trials until every study has used its budget, mirrored to MLflow if there is a job."""
    home = request.selection.workspace.home
    num_lost = sum(study.requeue_lost_trials(home) for study in studies)
    if num_lost:
        logger.info("requeued because their process died: %s", count(num_lost, "trial"))
    name = studies[0].plan.tuning
    head = f"{name}: {count(len(studies), 'study', 'studies')}, {request.budget.describe()} each"
    if all(study.used(request.budget) >= request.budget.amount for study in studies):
        logger.info("%s: used already, nothing to do", head)
        return
    logger.info("%s, on %s, %d at a time", head, device.name(), request.jobs)
    config = _worker_config(request, [study.plan for study in studies], device)
    _announce_time(config, studies, request.jobs)
    with mirrored(job) as mirror:
        _run_trials(config, studies, request.jobs, callbacks)
        if mirror is not None:
            mirror.finish()


def report_tuning(home: Path, name: str | None = None, storage_url: str | None = None) -> TuningReport:
    """Summarize and plot the trials of a tuning, by default of the only one that there is.

    Raises RequestError if there is no such tuning.
    """
    storage = open_storage(home, storage_url)
    with storage_errors(storage_url):
        return _report(storage, home, name)


def _report(storage: BaseStorage, home: Path, name: str | None) -> TuningReport:
    names = tuning_names(storage)
    name = name or (names[0] if len(names) == 1 else None)
    if name is None:
        raise RequestError(f"--report needs the --name of a tuning (there are: {', '.join(names) or 'none'})")
    if name not in names:
        raise unknown("tuning", name, names)
    summaries = [summary.summarize(study) for study in load_studies(storage, name)]
    folder = tuned_settings.suite_path(home, name).parent
    return TuningReport(summaries, plots.save_plots(summaries, folder, name))


def quick_start_stages(selection: Selection) -> Selection:
    """Return the selection with the quick start's settings if it names the quick start's task alone.

    A first tuning then takes minutes. Whoever names stages, max_stages or a regime decides the length.
    """
    quick = suites.load(suites.defaults().suite).grids[0]
    named = {name.rpartition(".")[2] for name in selection.settings}
    added = {name: value for name, value in quick.settings.items() if name not in named}
    if selection.tasks != quick.tasks or {"regime", "max_stages"} & named or not added:
        return selection
    whole, _ = build(selection.specs[0], selection.workspace.registry)
    logger.info(
        "%s, as in the quick start; --set stages=%d tunes at the length of `run`",
        " ".join(f"{name}={value}" for name, value in added.items()),
        whole.num_stages(),
    )
    return replace(selection, settings={**added, **selection.settings})


def _keep_plugins(request: TuneRequest, name: str, plans: Sequence[StudyPlan]) -> None:
    """Keep the source of the plug-ins that are tuned, beside that of earlier studies of the tuning."""
    workspace = request.selection.workspace
    path = tuned_settings.plugins_path(workspace.home, name)
    plugins = [p for plan in plans for p in own_plugins(plan.base_spec, workspace.registry)]
    path.parent.mkdir(parents=True, exist_ok=True)
    by_name = {(p.kind, p.name): p for p in (*plugin_files.read_plugins(path), *plugins)}
    plugin_files.write_plugins(path, list(by_name.values()))


def _default_name(selection: Selection) -> str:
    if selection.tasks is None:
        return selection.resolved_suite.name
    names = (name for spec in selection.specs for name in (spec.task.name, spec.model.name))
    return "-".join(dict.fromkeys(names))


def _open_device(selection: Selection) -> Device:
    """Return the device. Raises RequestError at once for what every trial would fail with."""
    device = get_device(selection.device_name)
    selection.workspace.store.prepare()
    return device


def _with_data(plans: Sequence[StudyPlan], context: RunContext) -> list[StudyPlan]:
    """Return the plans with the checksums of their data. Raises DataError if data are missing."""
    checksums = prepare_data([plan.base_spec for plan in plans], context)
    return [replace(plan, data=checksums[plan.base_spec.condition_id]) for plan in plans]


def _worker_config(request: TuneRequest, plans: Sequence[StudyPlan], device: Device) -> WorkerConfig:
    context = RunContext(
        request.selection.workspace,
        str(device),
        threads=request.threads or 1,  # as in a grid that uses all cores, whatever the number of workers
        num_processes=request.jobs,
    )
    return WorkerConfig(tuple(plans), request.budget, context, request.storage_url)


def _announce_time(config: WorkerConfig, studies: Sequence[TuningStudy], jobs: int) -> None:
    """Log how long the rest takes, or how long first trials do if none has ended."""
    left = seconds_left(studies, config.budget, jobs)
    if left is not None:
        logger.info("about %s left", describe_seconds(left))
        return
    specs = [spec for study in studies for spec in study.plan.specs(study.plan.defaults())]
    announce_run_time(specs, config.context, "for the first trial of each study")


def _mirror_job(request: TuneRequest, name: str) -> MirrorJob | None:
    if not request.mlflow:
        return None
    server = TrackingServer.to_mirror(request.tracking_uri, request.selection.workspace.home)
    source = TuningSource(name, request.storage_url)
    return None if server is None else MirrorJob(server, tuning=source)


def _run_trials(
    config: WorkerConfig, studies: Sequence[TuningStudy], jobs: int, callbacks: Sequence[TuningCallback]
) -> None:
    start, seconds_before = time.perf_counter(), _seconds_in_runs(studies)
    watcher = TrialWatcher(studies, callbacks)
    for callback in callbacks:
        callback.on_start(studies, config.budget, jobs)
    try:
        if jobs == 1:
            with signals.stop_on_signals(), keep_num_threads():
                run_worker(config, on_trial_end=watcher.check)
        else:
            run_workers(config, jobs, watcher.check)
    finally:
        watcher.check()
        for study in studies:  # trials of a worker that was stopped
            study.requeue_lost_trials(config.context.workspace.home)
    logger.info(
        "%.1f s, %.1f s of them in runs, %d at a time",
        time.perf_counter() - start,
        _seconds_in_runs(studies) - seconds_before,
        jobs,
    )


def _seconds_in_runs(studies: Sequence[TuningStudy]) -> float:
    trials = [trial for study in studies for trial in study.finished_trials()]
    return sum(float(trial.user_attrs.get("in_runs", 0.0)) for trial in trials)

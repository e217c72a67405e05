"""Search the settings of methods on validation data, each method with the same budget."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.devices import Device, get_device
from plastibench.errors import count, require
from plastibench.experiments import suites
from plastibench.experiments.spec import build, own_plugins
from plastibench.runner.context import RunContext
from plastibench.runner.data import prepare_data
from plastibench.store import plugin_files, tuned_settings
from plastibench.system.processes import check_can_start
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import mirrored
from plastibench.tracking.follower import MirrorJob
from plastibench.tracking.studies import TuningSource
from plastibench.tuning import export
from plastibench.tuning.budget import Budget
from plastibench.tuning.callbacks import TuningCallback
from plastibench.tuning.plan import StudyConfig, StudyPlan, make_plans
from plastibench.tuning.storage import open_storage, storage_errors
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.trial_runner import WorkerConfig
from plastibench.workflows.request import Selection
from plastibench.workflows.resources import device_of_parent, fitted_to_memory
from plastibench.workflows.trial_execution import announce_time, run_trials
from plastibench.workflows.trial_logger import TrialLogger

if TYPE_CHECKING:
    import pandas as pd

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
    jobs: int | None = None
    """Trials side by side, each in a process of its own; None is the device's choice, as for `run`."""
    threads: int | None = None
    """CPU threads of each trial; None is one, so that a trial has the same bits for every number of jobs."""
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
    job, device = _mirror_job(request, suite_name), _open_device(selection)
    request = replace(request, jobs=request.jobs or device.default_num_processes())
    if request.jobs != 1:
        check_can_start(f"jobs={request.jobs}")
    parent = device_of_parent(device, request.jobs or 1)
    plans = _with_data(plans, RunContext(selection.workspace, str(parent)))
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
    tuning, number = studies[0].plan.tuning, count(len(studies), "study", "studies")
    head = f"{tuning}: {number}, {request.budget.describe()} each"
    if all(study.used(request.budget) >= request.budget.amount for study in studies):
        logger.info("%s: used already, nothing to do", head)
        return
    config = _worker_config(request, studies, device)
    num_processes = config.context.num_processes
    name = device.name() if device_of_parent(device, num_processes) is device else str(device)
    logger.info("%s, on %s, %d at a time", head, name, num_processes)
    announce_time(config, studies)
    with mirrored(job) as mirror:
        run_trials(config, studies, callbacks)
        if mirror is not None:
            mirror.finish()


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


def _worker_config(request: TuneRequest, studies: Sequence[TuningStudy], device: Device) -> WorkerConfig:
    """Return what workers need; there are no more of them than trials, nor than the device's memory holds."""
    plans = tuple(study.plan for study in studies)
    context = RunContext(
        request.selection.workspace,
        str(device),
        threads=request.threads or 1,
        num_processes=min(request.jobs or 1, _trials_left(request.budget, studies)),
    )
    first = [spec for plan in plans for spec in plan.specs(plan.defaults())]
    context = fitted_to_memory(device, context, first)
    return WorkerConfig(plans, request.budget, context, request.storage_url)


def _trials_left(budget: Budget, studies: Sequence[TuningStudy]) -> int:
    """Return the largest number of trials that may be asked for."""
    if budget.unit != "trials":
        return sys.maxsize
    return max(1, sum(max(0, int(budget.amount - study.used(budget))) for study in studies))


def _mirror_job(request: TuneRequest, name: str) -> MirrorJob | None:
    if not request.mlflow:
        return None
    server = TrackingServer.to_mirror(request.tracking_uri, request.selection.workspace.home)
    source = TuningSource(name, request.storage_url)
    return None if server is None else MirrorJob(server, tuning=source)

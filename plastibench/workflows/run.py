"""Execute the runs of a suite or of a grid."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from plastibench.analysis.tables.incomplete import Asked
from plastibench.devices import Device, host_device
from plastibench.errors import count
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.spec import Spec, own_plugins
from plastibench.experiments.suites import Suite
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.data import Checksums, check_finished, check_tuned, prepare_data
from plastibench.runner.scheduler import run_specs
from plastibench.runner.worker import keep_torch_settings
from plastibench.runner.workspace import Workspace
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.index.load import load_summaries
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings
from plastibench.system.processes import check_can_start
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import mirrored
from plastibench.tracking.follower import MirrorJob
from plastibench.workflows.estimate import announce_run_time
from plastibench.workflows.finished_runs import log_damaged
from plastibench.workflows.kept_plugins import warn_of_changes, with_plugins_of_tuning
from plastibench.workflows.request import RunOptions, RunRequest
from plastibench.workflows.resources import (
    device_of_parent,
    open_device,
    remote_context,
    run_context,
)
from plastibench.workflows.run_logger import RunLogger
from plastibench.workflows.run_result import RunResult
from plastibench.workflows.shards import shard_name, shard_specs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Runs to execute together."""

    workspace: Workspace
    suite: Suite
    specs: Sequence[Spec]
    device_name: str
    leaderboard: str | None
    """The leaderboard that the runs join; None if they stay in those that they are in."""
    options: RunOptions
    tuned: Mapping[str, TunedSettings] = field(default_factory=dict)
    """Settings that a tuning chose, by variant."""
    refused: Sequence[Refusal] = ()
    """Methods that cannot run where they are asked to."""
    asked: Asked = field(default_factory=Asked)
    """All runs that were asked for, of which these may be a part."""


def run(request: RunRequest, callbacks: Sequence[RunCallback] = ()) -> RunResult:
    """Execute the runs that are not finished, and return all of them.

    A run that fails costs no other run; `RunResult.failures` names it. Raises RequestError for a request
    that cannot be met, before anything is executed.
    """
    selection = request.selection
    suite = selection.resolved_suite
    if selection.tuned:
        selection = replace(selection, workspace=with_plugins_of_tuning(selection.workspace, suite))
    warn_of_changes(suite, selection.specs)
    batch = Batch(
        workspace=selection.workspace,
        suite=suite,
        specs=shard_specs(selection.specs, request.options, selection.workspace.registry),
        device_name=selection.device_name,
        leaderboard=suite.name,
        options=request.options,
        tuned=tuned_settings.from_grids(selection.specs_by_grid),
        refused=selection.refused,
        asked=Asked(selection.specs, shard_name(request.options)),
    )
    return execute_batch(batch, callbacks)


def execute_batch(batch: Batch, callbacks: Sequence[RunCallback]) -> RunResult:
    """Execute the runs of a batch that are not finished, mirrored to MLflow if that is asked for."""
    specs, store = batch.specs, batch.workspace.store
    server = _tracking_server(batch)
    device = open_device(batch.device_name, specs, batch.options)
    store.prepare()
    for refusal in batch.refused:
        logger.warning("left out: %s", refusal)
    finished = _finished_runs(store, specs)
    log_damaged(store, "the run is executed again")
    missing = [spec for spec in specs if spec.id not in finished]
    if batch.options.choice.is_remote:
        context = remote_context(batch.workspace, batch.options, batch.device_name)
        num_at_once, where = batch.options.jobs or 0, f"on {batch.device_name} by {batch.options.executor}"
    else:
        context = run_context(batch.workspace, batch.options, device, missing)
        num_at_once, where = context.num_processes, _where(device, context)
        device = host_device() if context.devices > 1 else device_of_parent(device, context.num_processes)
    own = replace(context, device=str(device))
    plan = _plan(batch, len(missing), where)
    if missing:
        logger.info("%s", plan)
    checksums = prepare_data(missing, own, list(finished.values()))
    if batch.tuned:
        check_tuned(specs, batch.tuned, checksums, own)
    if not missing:
        logger.info("%s", plan)
    for spec in missing:
        store.open(spec, plugins=own_plugins(spec, context.registry)).describe()
    if batch.tuned:
        tuned_settings.save(store.home, _with_data(batch.tuned, specs, checksums))
    callbacks = [RunLogger(), *callbacks]
    estimate = batch.options.estimate and not batch.options.choice.is_remote  # its speed is not known here
    times = announce_run_time(missing, context) if estimate and context.devices == 1 else None
    for callback in callbacks:
        callback.on_start(len(specs), len(finished), num_at_once)
        if times is not None:
            callback.on_estimate(times.seconds)
    boards = leaderboards.assign(store.home, batch.leaderboard, specs)
    job = MirrorJob(server, boards) if server is not None and boards else None
    with mirrored(job) as mirror:
        with keep_torch_settings():
            context = replace(context, data_checksums=checksums)
            failures = run_specs(missing, context, callbacks, batch.options.retries, batch.options.choice)
        if mirror is not None:
            mirror.finish()
    finished |= _finished_runs(store, missing)
    check_finished(finished.values(), checksums)  # data change, and other processes execute the same runs
    records = [finished[spec.id] for spec in specs if spec.id in finished]
    return RunResult(
        workspace=batch.workspace,
        suite=batch.suite,
        num_runs=len(specs),
        summaries=tuned_settings.attach(records, store.tuned_settings()),
        failures={failure.spec.id: failure.message for failure in failures},
        links={} if mirror is None or mirror.result is None else mirror.result.links,
        refused=batch.refused,
        asked=batch.asked,
    )


def _finished_runs(store: Store, specs: Sequence[Spec]) -> dict[str, Record]:
    return {record.id: record for record in load_summaries(store, [spec.id for spec in specs])}


def _with_data(
    tuned: Mapping[str, TunedSettings], specs: Sequence[Spec], checksums: Checksums
) -> dict[str, TunedSettings]:
    """Return settings with the data of their runs, which unlike those of trials have test data.

    Those of data that are not at hand are left out.
    """
    found = {spec.variant_id: checksums.get(spec.condition_id) for spec in specs}
    return {
        variant: replace(origin, data=found[variant])
        for variant, origin in tuned.items()
        if found.get(variant) is not None
    }


def _tracking_server(batch: Batch) -> TrackingServer | None:
    """Return where runs are mirrored. Raises RequestError for an address that MLflow cannot use."""
    if not batch.options.mlflow:
        return None
    check_can_start("mlflow=True")
    return TrackingServer.to_mirror(batch.options.tracking_uri, batch.workspace.home)


def _where(device: Device, context: RunContext) -> str:
    taken = device_of_parent(device, context.num_processes * context.devices) is not device
    name = str(device) if taken else device.name()
    if context.devices > 1:
        return f"on {name}, each on {context.devices} devices, one at a time"
    return f"on {name}, {context.num_processes} at a time"


def _plan(batch: Batch, num_missing: int, how: str) -> str:
    name, num_runs = batch.suite.name, len(batch.specs)
    if not num_runs:
        return f"{name}: no runs, nothing to do"
    if not num_missing:
        finished = "the run is" if num_runs == 1 else f"all {count(num_runs, 'run')} are"
        return f"{name}: {finished} finished already, nothing to do"
    return f"{name}: {count(num_runs, 'run')}, {num_runs - num_missing} finished, {num_missing} to do {how}"

"""Continue runs that were asked for and are not finished."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from plastibench.analysis.tables.incomplete import Asked
from plastibench.errors import RequestError
from plastibench.experiments import suites
from plastibench.experiments.spec import Spec
from plastibench.experiments.suites import Suite
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.workspace import Workspace
from plastibench.store.index.load import load_summaries
from plastibench.store.run_status import started_specs
from plastibench.store.run_store import Store
from plastibench.workflows.finished_runs import log_damaged
from plastibench.workflows.kept_plugins import with_plugins_of_runs
from plastibench.workflows.request import RunOptions
from plastibench.workflows.run import Batch, execute_batch
from plastibench.workflows.run_result import RunResult
from plastibench.workflows.shards import shard_name, shard_specs


@dataclass(frozen=True, kw_only=True)
class ResumeRequest:
    """Runs that were asked for and are not finished, whatever suite they came from."""

    workspace: Workspace
    runs: tuple[str, ...] = ()
    """Ids, or beginnings of them; none stands for all."""
    device: str | None = None
    """None is the kind of device that the runs were started on."""
    options: RunOptions = field(default_factory=RunOptions)


def resume(request: ResumeRequest, callbacks: Sequence[RunCallback] = ()) -> RunResult:
    """Execute unfinished runs from their last checkpoints, and those that had not begun when a command ended.

    Runs whose description is damaged are named in `RunResult.damaged`. Raises RequestError for an id that
    no run has, and for runs of several kinds of device.
    """
    workspace, usual = request.workspace, suites.defaults()
    descriptions = Store(workspace.home)
    started = started_specs(descriptions, request.runs)
    started = [spec for spec in started if _is_named(request, spec)]
    asked = Asked(started, shard_name(request.options) or "resumed runs")
    started = list(shard_specs(started, request.options, workspace.registry))
    finished = {record.id for record in load_summaries(workspace.store, [spec.id for spec in started])}
    unfinished = [spec for spec in started if spec.id not in finished]
    batch = Batch(
        workspace=with_plugins_of_runs(workspace, unfinished),
        suite=Suite("resumed", "", usual.baseline, usual.cost_reference, ()),
        specs=unfinished,
        device_name=_device_name(request, unfinished),
        leaderboard=None,
        options=request.options,
        asked=asked,
    )
    result = execute_batch(batch, callbacks)
    log_damaged(descriptions, "the command that started the run executes it again")
    return replace(result, damaged=dict(descriptions.damaged))


def _is_named(request: ResumeRequest, spec: Spec) -> bool:
    """Return whether a run is asked for: those of trials, some of which were pruned, only by their ids."""
    return bool(request.runs) or not spec.held_out_test


def _device_name(request: ResumeRequest, specs: Sequence[Spec]) -> str:
    kinds = sorted({spec.device for spec in specs})
    if len(kinds) > 1:
        raise RequestError(f"these runs need several devices ({', '.join(kinds)}): name the runs of one")
    return request.device or (kinds[0] if kinds else "cpu")

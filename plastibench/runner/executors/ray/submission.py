"""How the driver hands a run to Ray."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import plastibench
from plastibench.runner.context import RunContext
from plastibench.runner.executors.ray.cluster import Demand, avoiding
from plastibench.runner.executors.ray.node import Errand
from plastibench.runner.remote_run import RemoteRun
from plastibench.runner.workspace import DATA_VARIABLE, default_data
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.checkpoint_storage import mark_storage
from plastibench.store.run_status import LOCK_FILE


class Submitter:
    """Hands runs to Ray until `close`; this process must be connected."""

    def __init__(self, context: RunContext, demand: Demand) -> None:
        import ray

        self.context, self.demand = context, demand
        self._function = _remote_function()
        storage = context.checkpoint_storage
        self._mark = None if storage is None else mark_storage(storage)
        self._errand = ray.put(pickle.dumps(_errand(context, demand, self._mark)))
        self._versions = _versions()

    def start(self, run: RemoteRun, avoid: set[str]) -> Any:  # noqa: ANN401 - Ray's generator
        """Start a run on another node than some; return the generator of references to its messages.

        Ray does not repeat it: the scheduler does.
        """
        folder = self.context.store.folder(run.spec.id)
        lock = (folder / LOCK_FILE).read_text(encoding="utf-8")
        options = {**self.demand.options(), **avoiding(avoid), "max_retries": 0}
        task = self._function.options(name=f"plastibench {run.spec.name} {run.spec.id}", **options)
        return task.remote(self._errand, pickle.dumps(run.spec), lock, self._versions)

    def close(self) -> None:
        """Remove what is left in the storage of checkpoints."""
        if self._mark is not None:
            self._mark.remove()


def _errand(context: RunContext, demand: Demand, mark: Checkpoint | None) -> Errand:
    """Return what nodes need, with folders as they are called everywhere."""
    workspace = context.workspace
    data = None if workspace.data == default_data() else workspace.data.absolute()
    workspace = replace(workspace, home=workspace.home.absolute(), plugins=workspace.registry.own)
    context = replace(context, workspace=workspace, num_processes=demand.runs_per_device)
    name = None if mark is None else mark.run
    return Errand(context, data, os.environ.get(DATA_VARIABLE), name, Path.cwd())


def _remote_function() -> Any:  # noqa: ANN401 - Ray's function
    """Return the function that nodes execute; it travels as code."""
    import ray
    from ray import cloudpickle

    from plastibench.runner.executors.ray import gate

    cloudpickle.register_pickle_by_value(gate)
    return ray.remote(gate.execute_on_node)


def _versions() -> dict[str, str]:
    """Return the versions that nodes must have; Ray itself compares those of Ray and of Python."""
    from importlib.metadata import version

    return {"plastibench": plastibench.__version__, "torch": version("torch")}

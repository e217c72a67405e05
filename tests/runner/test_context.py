"""The context travels to other processes as plain values."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

from plastibench.runner.context import RunContext
from plastibench.runner.workspace import Workspace

WORKSPACE = Workspace(home=Path("home"), data=Path("data"), cache=Path("cache"))


def test_contexts_of_one_workspace_share_its_store_and_its_plugins() -> None:
    context = RunContext(WORKSPACE, "cpu", threads=2)
    assert replace(context, num_processes=2).store is context.store is WORKSPACE.store
    assert replace(context, num_processes=2).registry is context.registry is WORKSPACE.registry


def test_pickled_context_leaves_behind_what_each_process_makes() -> None:
    context = RunContext(WORKSPACE, "cpu", threads=2)
    assert (context.store.home, context.data_context.data) == (Path("home"), Path("data"))
    assert context.registry.names("method")
    copy = pickle.loads(pickle.dumps(context))
    assert copy == context
    assert "data_context" not in vars(copy)
    assert not {"store", "registry"} & set(vars(copy.workspace))
    assert copy.store.home == Path("home")

"""The context travels to other processes as plain values."""

from __future__ import annotations

import pickle
from pathlib import Path

from plastibench.runner.context import RunContext


def test_pickled_context_leaves_behind_what_each_process_makes() -> None:
    context = RunContext(Path("home"), Path("data"), Path("cache"), "cpu", threads=2)
    assert context.store is context.store
    assert context.registry is context.registry
    copy = pickle.loads(pickle.dumps(context))
    assert copy == context
    assert not {"store", "registry"} & set(vars(copy))
    assert copy.store.home == Path("home")

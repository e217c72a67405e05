"""Small records, for tests without training. Needs no torch."""

from __future__ import annotations

from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.store.record import Record
from plastibench.store.run_store import Store


def a_spec(seed: int = 0) -> Spec:
    part = Part("x", {"a": 1, "b": (1, 2), "c": None}, "code")
    return Spec(part, part, {"learning_rate": 0.1}, part, seed, "cpu", 1)


def a_row(index: int) -> dict[str, Any]:
    return {"index": index, "test_accuracy": 0.1 + index, "train_loss": None}


def finish(store: Store, spec: Spec) -> Record:
    with store.open(spec) as writer:
        for index in range(2):
            writer.append(a_row(index))
        return writer.finish("done", {"torch": "2", "seconds": 0.1})

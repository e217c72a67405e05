"""A sealed run cannot read the test data, is another run, and is in no table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tasks import small_digits

from plastibench.analysis.tables.table import build_tables
from plastibench.cli.progress import RunProgress
from plastibench.cli.screen import Screen
from plastibench.data.dataset import Dataset
from plastibench.errors import RequestError
from plastibench.experiments.grid import FIRST_TUNING_SEED, Grid, parse_seeds
from plastibench.experiments.spec import Spec
from plastibench.plugins.fields import settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task, sealed
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training import protocol

SMALL = {"stages": "2", "max_epochs": "1", "width": "4", "train_size": "130", "validation": "0.2"}


class Untouchable:
    """Stands for a test split; whatever is done with it is an error."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test data were touched: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test data were counted")


def guarded(task: Task, *, seal: bool) -> Task:
    """Return the task with a test split that raises when it is touched, sealed or not."""
    base: Any = type(task)

    class Guarded(base):  # type: ignore[misc]  # a class found at run time
        def stream(self, *where: Any) -> Iterator[Any]:
            for stage in super().stream(*where):
                yield replace(stage, test=Untouchable())

    kind = sealed(Guarded) if seal else Guarded
    return kind(recipe=task.recipe, architecture=task.architecture, **settings_of(task))


def spec_of(registry: Registry, *, seal: bool) -> Spec:
    grid = Grid(tasks=("digits",), methods=("warm",), seeds=(0,), settings=SMALL)
    (spec,) = grid.specs(registry)
    return replace(spec, sealed=seal)


def test_a_sealed_run_never_touches_the_test_split(registry: Registry) -> None:
    task = small_digits(registry, validation=0.2)
    with pytest.raises(AssertionError, match="the test data were"):
        list(protocol.run(guarded(task, seal=False), Method(), 0, data_context()))
    for result in protocol.run(guarded(task, seal=True), Method(), 0, data_context()):
        assert result.validation_accuracy is not None
        row = result.as_dict()
        assert [row[name] for name in ("test_accuracy", "test_correct", "num_test", "test_loss")] == [
            None
        ] * 4


def test_the_seal_changes_nothing_of_the_training(registry: Registry) -> None:
    task = small_digits(registry, validation=0.2)
    closed = sealed(type(task))(recipe=task.recipe, architecture=task.architecture, **settings_of(task))
    one, two = trace_run(task, Method()), trace_run(closed, Method())
    assert equal_weights(one.weights, two.weights)
    assert [row.validation_accuracy for row in one.results] == [
        row.validation_accuracy for row in two.results
    ]


def test_a_sealed_run_is_another_run_of_another_setting(registry: Registry) -> None:
    plain, closed = spec_of(registry, seal=False), spec_of(registry, seal=True)
    assert plain.id != closed.id
    assert plain.condition_id() != closed.condition_id()
    assert "sealed" not in plain.as_dict()
    assert [Spec.from_dict(spec.as_dict()) for spec in (plain, closed)] == [plain, closed]


def test_a_sealed_run_is_kept_and_is_in_no_table(registry: Registry, tmp_path: Path) -> None:
    context = RunContext(tmp_path, tmp_path, tmp_path, "cpu")
    with RunProgress(Screen(quiet=True)) as progress:
        record = execute(spec_of(registry, seal=True), context, [progress])
        progress.on_run_end(record)
        assert progress.num_ended == 1
    kept = Store(tmp_path).read(record.id)
    assert kept is not None
    assert (kept.id, kept.stages) == (record.id, record.stages)
    assert [row["test_accuracy"] for row in record.stages] == [None, None]
    assert all(0 < row["validation_accuracy"] <= 1 for row in record.stages)
    assert build_tables([record], "warm") == []


@pytest.mark.parametrize(
    "text", [str(FIRST_TUNING_SEED) + ",", f"5,{FIRST_TUNING_SEED + 3}-{FIRST_TUNING_SEED + 4}"]
)
def test_seeds_for_tuning_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(RequestError, match="kept for tuning"):
        parse_seeds(text)


def test_the_seed_below_those_for_tuning_can() -> None:
    assert parse_seeds(f"{FIRST_TUNING_SEED - 1},") == (FIRST_TUNING_SEED - 1,)


def test_test_data_type_is_what_the_guard_replaces(registry: Registry) -> None:
    stage = next(iter(small_digits(registry).stream(0, data_context())))
    assert isinstance(stage.test, Dataset)

"""A run with a held-out test cannot read the test data, is another run, and is in no table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tasks import small_digits

from plastibench.analysis.tables.table import build_tables
from plastibench.data.dataset import Dataset
from plastibench.data.no_data import NoData
from plastibench.display.runs import RunProgress
from plastibench.display.screen import Screen
from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.seeds import FIRST_TUNING_SEED, parse_seeds
from plastibench.experiments.spec import Spec
from plastibench.plugins.fields import settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.workspace import Workspace
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import data_context
from plastibench.training import protocol

SMALL = {"stages": "2", "max_epochs": "1", "width": "4", "train_size": "130", "validation": "0.2"}
HELD_OUT = protocol.Measures(held_out_test=True)


class Untouchable(NoData):
    """Stands for a test split; whatever is done with it is an error."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test data were touched: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test data were counted")


def guarded(task: Task) -> Task:
    """Return the task with a test split that raises when it is touched."""
    base: Any = type(task)

    class Guarded(base):  # type: ignore[misc]  # a class found at run time
        def stream(self, *where: Any) -> Iterator[Any]:
            for stage in super().stream(*where):
                yield replace(stage, test=Untouchable("never"))

    return Guarded(recipe=task.recipe, architecture=task.architecture, **settings_of(task))


def spec_of(registry: Registry, *, held_out_test: bool) -> Spec:
    grid = Grid(tasks=("digits",), methods=("warm",), seeds=(0,), settings=SMALL)
    (spec,) = grid.specs(registry)
    return replace(spec, held_out_test=held_out_test)


def test_held_out_test_data_are_never_touched(registry: Registry) -> None:
    task = small_digits(registry, validation=0.2)
    with pytest.raises(AssertionError, match="the test data were"):
        list(protocol.run(guarded(task), Method(), 0, data_context()))
    for result in protocol.run(
        guarded(task), Method(), 0, data_context(), measures=protocol.Measures(held_out_test=True)
    ):
        assert result.validation_accuracy is not None
        row = result.as_dict()
        assert {row[name] for name in ("test_accuracy", "test_correct", "num_test", "test_loss")} == {None}


def test_holding_out_the_test_changes_nothing_of_the_training(registry: Registry) -> None:
    task = small_digits(registry, validation=0.2)
    one = list(protocol.run(task, Method(), 0, data_context()))
    two = list(protocol.run(task, Method(), 0, data_context(), measures=HELD_OUT))
    assert [row.train_loss for row in one] == [row.train_loss for row in two]
    assert [row.validation_accuracy for row in one] == [row.validation_accuracy for row in two]


def test_a_run_with_a_held_out_test_is_another_run_under_another_condition(registry: Registry) -> None:
    plain, held = spec_of(registry, held_out_test=False), spec_of(registry, held_out_test=True)
    assert plain.id != held.id
    assert plain.condition_id != held.condition_id
    assert "sealed" not in plain.as_dict()
    assert [Spec.from_dict(spec.as_dict()) for spec in (plain, held)] == [plain, held]


def test_a_run_with_a_held_out_test_is_kept_and_is_in_no_table(registry: Registry, tmp_path: Path) -> None:
    context = RunContext(Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu")
    with RunProgress(Screen(quiet=True)) as progress:
        record = execute(spec_of(registry, held_out_test=True), context, [progress])
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
    with pytest.raises(RequestError, match="reserved for tuning"):
        parse_seeds(text)


def test_the_seed_below_those_for_tuning_can() -> None:
    assert parse_seeds(f"{FIRST_TUNING_SEED - 1},") == (FIRST_TUNING_SEED - 1,)


def test_test_data_type_is_what_the_guard_replaces(registry: Registry) -> None:
    stage = next(iter(small_digits(registry).stream(0, data_context())))
    assert isinstance(stage.test, Dataset)

"""A method that changes its recipe: what it may change, what is refused, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.tasks import small_digits

from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.recipe_changes import described_changes, trained_task
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training.learner import Learner


def changing(changes: Any) -> Method:
    """Return a method that asks for other settings of the recipe."""
    cls: type[Method] = type("Changed", (Method,), {"recipe_changes": lambda self: changes})
    return cls()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimiser": "sam"}, "no setting of Recipe named 'optimiser'.*optimizer"),
        ({"optimizer": "sgdd"}, "recipe_changes of Changed: optimizer=sgdd is not allowed"),
        ({"learning_rate": -1.0}, "learning_rate=-1 is not allowed"),
        ({"rho": 0.2}, "rho=0.2 means nothing with optimizer=sgd"),
        ({"max_epochs": 3}, "changes max_epochs, which is the same for all methods: it may change optimizer"),
        ({"normalize": False}, "changes normalize, which is the same for all methods"),
        (None, "returns a NoneType"),
        (["optimizer"], "returns a list"),
    ],
)
def test_what_a_method_cannot_change_is_refused(task: Task, changes: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        trained_task(task, changing(changes))


def test_settings_that_lose_their_meaning_get_their_defaults(registry: Registry) -> None:
    task = small_digits(registry, recipe={"optimizer": "sam", "rho": 0.3, "sam_statistics": "first"})
    recipe = trained_task(task, changing({"optimizer": "adamw", "learning_rate": 0.002})).recipe
    assert recipe == replace(
        task.recipe, optimizer="adamw", learning_rate=0.002, rho=Recipe().rho, sam_statistics="both"
    )


@pytest.mark.heavy
def test_a_method_is_trained_by_the_recipe_that_it_asks_for(registry: Registry) -> None:
    changes = {"optimizer": "adamw", "learning_rate": 0.002, "momentum": 0.8}
    task = small_digits(registry)
    theirs = trace_run(small_digits(registry, recipe=changes), Method())
    assert equal_weights(trace_run(task, changing(changes)).weights, theirs.weights)
    assert task.recipe.optimizer == "sgd"  # that of all others


def test_a_method_that_changes_nothing_has_the_task_of_all_others(task: Task) -> None:
    same = changing({"optimizer": "sgd"})
    assert trained_task(task, same) is task
    assert described_changes(task, same) is None
    assert Learner(task, same, 0, get_device("cpu")).task is task


def test_changes_are_described_beside_what_others_have(task: Task) -> None:
    text = described_changes(task, changing({"optimizer": "sam", "rho": 0.1, "weight_decay": 0.01}))
    assert text == "optimizer=sam instead of sgd, weight_decay=0.01 instead of 0"


def test_a_method_that_changes_the_recipe_acts_in_the_first_stage_too() -> None:
    method = changing({})
    assert not method.acts_only_between_stages()
    assert method.can_be_captured()
    method.check_contract()  # it does something, without a hook

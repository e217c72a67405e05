"""What a method changes of the recipe: checked when a grid is made, applied where a run's learner is made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plastibench.errors import RequestError
from plastibench.plugins.fields import settings_of, with_settings
from plastibench.plugins.method import Method
from plastibench.plugins.task import Task
from plastibench.plugins.values import show

CHANGEABLE = (
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "rho",
    "adaptive",
    "sam_statistics",
    "schedule",
    "milestones",
    "decay",
    "warmup_epochs",
    "augment",
)
"""How weights are updated. What ends a stage and how it is measured is the same for all methods."""


def trained_task(task: Task, method: Method) -> Task:
    """Return the task with the recipe that a method is trained with; `task` itself if that is the same.

    Raises RequestError for a setting that a method cannot change, or a value that is not allowed.
    """
    changes: object = method.recipe_changes()
    where = f"recipe_changes of {type(method).__name__}"
    if not isinstance(changes, Mapping):
        raise RequestError(f"{where} returns a {type(changes).__name__}: it must return settings by name")
    fixed = sorted(settings_of(task.recipe).keys() & changes.keys() - set(CHANGEABLE))
    if fixed:
        raise RequestError(
            f"{where} changes {fixed[0]}, which is the same for all methods: it may change "
            f"{', '.join(CHANGEABLE)}"
        )
    try:
        recipe = with_settings(task.recipe, changes)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error
    return task if recipe == task.recipe else replace(task, recipe=recipe)


def described_changes(task: Task, method: Method) -> str | None:
    """Return the settings of the recipe that a method changes, with those of all others, or None."""
    common, own = settings_of(task.recipe), settings_of(trained_task(task, method).recipe)
    changed: dict[str, Any] = {name: value for name, value in own.items() if value != common[name]}
    texts = (f"{name}={show(value)} instead of {show(common[name])}" for name, value in changed.items())
    return ", ".join(texts) or None

"""Small tasks and callbacks that several tests need."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

from plastibench.data.augment import Compose, RandomCrop
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.training.callbacks import TrainingCallback


class LogRecorder(TrainingCallback):
    """Records the messages of a run."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_log(self, message: str) -> None:
        self.messages.append(message)


def small_digits(
    registry: Registry, model: str = "small_resnet", recipe: dict[str, Any] | None = None, **task: Any
) -> Task:
    """Return three small stages of digits with a model of a few thousand weights."""
    sizes = {"small_resnet": {"width": 4}, "mlp_bn": {"width": 24}}
    architecture = registry.load("model", model)(**sizes.get(model, {}))
    cls = registry.load("task", "digits")
    default = next(iter(cls.recipes(architecture).values()))
    options = {
        "stages": 3,
        "train_size": 130,
        "recipe": replace(default, **{"max_epochs": 2, **(recipe or {})}),
        "architecture": architecture,
        **task,
    }
    small: Task = cls(**options)
    return small


def few_digits(
    registry: Registry, model: str = "mlp_bn", max_stages: int | None = None, **recipe: Any
) -> Task:
    """Return small digits with as few images as a law can do with: epochs of one, two and three steps."""
    return small_digits(registry, model, recipe, train_size=70, max_stages=max_stages)


def augmented(task: Task) -> Task:
    """Return a task of images whose training images are cropped at random if the recipe says so."""
    changed = copy.copy(task)
    object.__setattr__(changed, "__class__", _augmented(type(task)))
    return changed


@cache
def _augmented(cls: type[Task]) -> type[Task]:
    return type(cls.__name__, (cls,), {"augmentation": Compose((RandomCrop(padding=2),))})


CAPTURED: dict[str, Any] = {
    "batch_size": 32,
    "max_epochs": 4,
    "schedule": "steps",
    "milestones": (3,),
    "warmup_epochs": 1,
    "learning_rate": 0.01,
}
"""A recipe with what a capture could freeze: an odd last batch and a varying learning rate."""


def captured_digits(registry: Registry, **recipe: Any) -> Task:
    """Return small digits to be trained in captured steps."""
    return small_digits(registry, recipe={**CAPTURED, **recipe})


def changes_captured_steps(cls: type[Method]) -> bool:
    """Return whether a captured step is another one than without the method, which a control shows."""
    return cls.can_be_captured() and (cls.disabled == {} or not cls.acts_only_between_stages())

"""Makers of small things that several tests need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.training.callbacks import TrainingCallback


class Listening(TrainingCallback):
    """Goes along with a run and keeps the lines that it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_log(self, message: str) -> None:
        self.said.append(message)


def small_digits(
    registry: Registry, model: str = "small_resnet", recipe: dict[str, Any] | None = None, **task: Any
) -> Task:
    """Return three small stages of digits with a model of a few thousand weights."""
    sizes = {"small_resnet": {"width": 4}, "mlp_bn": {"width": 24}}
    architecture = registry.load("model", model)(**sizes.get(model, {}))
    kind = registry.load("task", "digits")
    plain = next(iter(kind.recipes(architecture).values()))
    shaped = replace(plain, **{"max_epochs": 2, **(recipe or {})})
    made: Task = kind(
        **{"stages": 3, "train_size": 130, "recipe": shaped, "architecture": architecture, **task}
    )
    return made


def captured_digits(registry: Registry, **recipe: Any) -> Task:
    """Return small digits with what a recording could freeze: an odd last batch and rates that vary."""
    course = {"schedule": "steps", "milestones": (3,), "warmup_epochs": 1, "learning_rate": 0.01}
    return small_digits(registry, recipe={"batch_size": 32, "max_epochs": 4, **course, **recipe})

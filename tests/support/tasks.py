"""Small tasks and callbacks that several tests need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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


def captured_digits(registry: Registry, **recipe: Any) -> Task:
    """Return small digits with what a capture could freeze: an odd last batch and a varying learning rate."""
    schedule = {"schedule": "steps", "milestones": (3,), "warmup_epochs": 1, "learning_rate": 0.01}
    return small_digits(registry, recipe={"batch_size": 32, "max_epochs": 4, **schedule, **recipe})

"""Makers of small things that several tests need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plastibench.registry import Registry
from plastibench.task import Task


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

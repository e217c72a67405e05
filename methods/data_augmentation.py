"""Data augmentation: train on randomly changed images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import Compose, Method, Task


@dataclass(kw_only=True)
class DataAugmentation(Method):
    """Train on a(x), a drawn anew for each image and epoch (Shin et al. 2024, arXiv 2410.23495, C.4.1).

    `a` is the task's augmentation, for CIFAR-10 a random crop after padding by 4, then a random flip. With it
    the gap between cold and warm start may vanish, so it is the control for every claim that a remedy is
    needed. It stands for itself: a recipe with augment=true trains all methods so.

    Cost: none on the device that trains, but stages last longer until training accuracy reaches its target.
    """

    augment: bool = True
    """False trains as the recipe says."""

    disabled: ClassVar[Mapping[str, Any]] = {"augment": False}

    def recipe_changes(self) -> Mapping[str, Any]:
        """Return the recipe's switch."""
        return {"augment": True} if self.augment else {}

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the task has no augmentation."""
        if not self.augment or getattr(task, "augmentation", Compose()) != Compose():
            return None
        return f"{type(task).__name__} has no augmentation"

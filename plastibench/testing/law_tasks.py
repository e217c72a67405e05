"""The small tasks on which `plastibench check` runs the laws: check.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from plastibench.plugins.architecture import Architecture
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext, Task
from plastibench.plugins.values import from_json
from plastibench.testing.run_trace import data_context

FILE = Path(__file__).with_name("check.toml")


class LawTasks:
    """Makes the tasks."""

    def __init__(self, registry: Registry, context: DataContext | None = None) -> None:
        """Make the tasks from the plug-ins there are; `context` is where a task of one's own has its data."""
        self.registry = registry
        self.context = context or data_context()

    @cached_property
    def tables(self) -> Mapping[str, Any]:
        """Return the content of the file."""
        return tomllib.loads(FILE.read_text(encoding="utf-8"))

    @property
    def models(self) -> list[str]:
        """Return the names of the models, in order of preference."""
        return list(self.tables["models"])

    def architecture(self, model: str) -> Architecture:
        """Return a small form of a model; of one that is not in the file, its defaults."""
        settings = self.tables["models"].get(model, {})
        architecture: Architecture = self.registry.load("model", model)(**settings)
        return architecture

    def task(self, model: str, **changes: Any) -> Task:  # noqa: ANN401 - settings of the recipe
        """Return the task with a model; `changes` are settings of the recipe."""
        settings = dict(self.tables["task"])
        cls: type[Task] = self.registry.load("task", settings.pop("name"))
        architecture = self.architecture(model)
        recipe = next(iter(cls.recipes(architecture).values()))
        recipe = replace(recipe, **from_json({**self.tables["recipe"], **changes}))
        return cls(**settings, recipe=recipe, architecture=architecture)

    def captured(self, model: str) -> Task:
        """Return the task with a recipe that has what a captured step could freeze."""
        return self.task(model, **self.tables["captured"])

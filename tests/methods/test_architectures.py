"""Laws of all methods on a transformer, on a network without norms, and on rows of numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pairs import pairs
from support.tasks import augmented, small_digits

from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import trace_run

MODELS: dict[str, dict[str, Any]] = {
    "vit": {"width": 8, "depth": 2, "heads": 2, "head_width": 4, "hidden": 12},
    "plain_cnn": {"width": 3, "hidden": 10, "padding": "same"},
    "mlp_bn": {"width": 10, "depth": 3},
}
QUICK = {("dash", "vit"), ("shrink_perturb", "plain_cnn"), ("head_reset", "mlp_bn")}
CASES = pairs(list(MODELS), 1, quick=QUICK, whole=("dash", "shrink_perturb"))


def small_task(registry: Registry, model: str, folder: Path) -> Task:
    """Return digits for models of images, and rows of numbers for the perceptron."""
    architecture = registry.load("model", model)(**MODELS[model])
    few = {"max_epochs": 1, "batch_size": 16, "learning_rate": 0.05}
    if model != "mlp_bn":
        return replace(
            small_digits(registry, "mlp_bn", few, train_size=60, stages=2), architecture=architecture
        )
    rows = [f"{n % 7},{n * n % 11},{-n % 5},{n % 10}" for n in range(90)]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,label", *rows]), encoding="utf-8")
    cls = registry.load("task", "table")
    recipe = replace(next(iter(cls.recipes(architecture).values())), **few)
    task: Task = cls(recipe=recipe, architecture=architecture, file=str(folder / "rows.csv"), stages=2)
    return task


@pytest.mark.parametrize(("name", "model"), CASES)
def test_the_laws_hold_on_every_architecture(
    registry: Registry, name: str, model: str, tmp_path: Path
) -> None:
    task, cls = small_task(registry, model, tmp_path), registry.load("method", name)
    if model != "mlp_bn" and cls().unsupported(task) is not None:
        task = augmented(task)  # if that is all it lacks
    reason = cls().unsupported(task)
    if reason is not None:
        with pytest.raises(RequestError, match=re.escape(reason)):
            trace_run(task, cls())
        return
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)
    if model == "vit":  # the others have layers that other tests stop and resume
        laws.interruption_changes_nothing(task, cls, every=2)
    if cls.disabled:
        laws.disabled_method_equals_warm_start(task, cls)

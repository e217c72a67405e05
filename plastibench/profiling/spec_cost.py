"""What runs cost relative to each other, from their descriptions alone: no clock, no data, no record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.recipe_changes import trained_task
from plastibench.plugins.registry import Registry
from plastibench.profiling.calibration import USUAL_EPOCHS, step_limit
from plastibench.training.flops import flop_model

if TYPE_CHECKING:
    from plastibench.plugins.task import Task

USUAL_SIZE = 50_000
"""Training examples of a task that does not say how many it uses: reading data to count them would make
every job of a cluster read all data of a suite."""
UNIT = 10**9
"""FLOPs that cost 1."""


def spec_costs(specs: Sequence[Spec], registry: Registry) -> dict[str, int]:
    """Return what each run costs by its id, as whole numbers that are the same on every machine.

    FLOPs of the model, the optimizer's passes, and the steps that the recipe allows or that are usual. A run
    whose plug-ins are not at hand, or whose model cannot be counted, costs as much as the dearest one.
    """
    found = {spec.variant_id: _cost(spec, registry) for spec in {s.variant_id: s for s in specs}.values()}
    highest = max((cost for cost in found.values() if cost is not None), default=1)
    return {spec.id: found[spec.variant_id] or highest for spec in specs}


def _cost(spec: Spec, registry: Registry) -> int | None:
    """Return the cost of a run, or None if it cannot be told."""
    try:
        task, method = build(spec, registry)
        task = trained_task(task, method)
    except RequestError:
        return None
    each = _flops(task)
    if each is None:
        return None
    passes = task.recipe.batch_size * task.recipe.num_passes()
    return max(1, task.num_stages() * _steps(task) * passes * each // UNIT)


def _flops(task: Task) -> int | None:
    """Return the FLOPs of one example forward and backward."""
    if not isinstance(task, ClassificationTask):
        return None
    model = flop_model(task.model(), task.input_shape(), backward=True)
    return None if model is None else model.per_example.matrix


def _steps(task: Task) -> int:
    """Return the steps of a stage that trains on half of the data, as the mean stage does that keeps them."""
    num_train = max(1, (getattr(task, "train_size", None) or USUAL_SIZE) // 2)
    limit = step_limit(task.recipe, num_train)
    usual = USUAL_EPOCHS * -(-num_train // task.recipe.batch_size)
    if limit is None:
        return usual
    return limit if task.recipe.target_accuracy is None else min(limit, usual)

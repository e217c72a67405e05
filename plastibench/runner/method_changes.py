"""What a method changes of the recipe and of the model, as tables and reports show it beside its results."""

from functools import partial

from torch import nn

from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.layer_swap import LayerSwap
from plastibench.plugins.layers import without_data
from plastibench.plugins.method import Method
from plastibench.plugins.recipe_changes import described_changes, trained_task
from plastibench.plugins.task import Task
from plastibench.training.flops import architecture_key, flop_model

MILLION = 1e6
REFERENCE = {
    False: "what it is worth is its difference from itself with restart=true",
    True: "it is trained from new weights at every stage",
}
"""What to compare a remedy of architecture with, by whether it starts again at every stage."""


def method_changes(task: Task, method: Method) -> dict[str, str]:
    """Return sentences on `recipe_changes` and `model_changes`; those without a change are left out."""
    changes = {
        "recipe_changes": described_changes(task, method),
        "model_changes": _model_changes(task, method),
    }
    return {name: text for name, text in changes.items() if text is not None}


def _model_changes(task: Task, method: Method) -> str | None:
    """Return the size of the model that a method builds beside that of the task's, or None."""
    if not method.changes_model():
        return None
    try:
        usual = without_data(task.model)
        own = without_data(partial(method.build, trained_task(task, method)))
    except Exception:  # a plug-in's model may need data to be built; the run has trained it
        return None
    if architecture_key(own) == architecture_key(usual):
        return None
    reference = f"; {REFERENCE[method.restart]}" if isinstance(method, LayerSwap) else ""
    return f"{_size(task, own)}, where others have {_size(task, usual)}{reference}"


def _size(task: Task, model: nn.Module) -> str:
    """Return the number of weights of a model, and the FLOPs of a pass if they can be counted."""
    weights = f"{sum(parameter.numel() for parameter in model.parameters()):,} weights"
    flops = (
        flop_model(model, task.input_shape(), backward=False)
        if isinstance(task, ClassificationTask)
        else None
    )
    if flops is None:
        return weights
    return f"{weights} and {flops.per_example.matrix / MILLION:,.3g} MFLOPs an example"

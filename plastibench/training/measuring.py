"""What probes measure with: examples, gradients, accuracies, a training; all counted as the learner's cost.

A probe has a copy of the learner, which these functions may change.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from plastibench.data.dataset import Dataset
from plastibench.devices.device import arranged
from plastibench.plugins.method import Method
from plastibench.plugins.task import Stage
from plastibench.training.callbacks import Checkpointer, TrainingCallback
from plastibench.training.learner import Learner
from plastibench.training.trainer import Trainer
from plastibench.training.watching import watch_activations

NORM_EXAMPLES = 1024
"""Training examples on which the statistics of batch normalization are measured again."""
BATCH = 256
"""Examples taken at once."""


def new_data(stage: Stage) -> Dataset:
    """Return the training data that arrived with a stage."""
    return stage.train[len(stage.train) - stage.num_new :]


def old_data(stage: Stage) -> Dataset:
    """Return the training data of a stage that arrived before it; none in the first stage."""
    return stage.train[: len(stage.train) - stage.num_new]


def sample_examples(data: Dataset, size: int, generator: torch.Generator) -> Dataset:
    """Return `size` examples drawn without replacement, or all in random order if there are no more."""
    return data.take(torch.randperm(len(data), generator=generator)[:size])


def measuring_model(learner: Learner) -> nn.Module:
    """Prepare the model of a copied learner for measurements, and return it.

    It is put in evaluation mode, and the statistics of batch normalization are measured again on training
    data, since those of the run may be stale after a remedy or a short stage. All later passes of the learner
    are in full precision.
    """
    task, stage = learner.task, learner.stage
    learner.task = replace(task, recipe=replace(task.recipe, precision="fp32"))
    learner.stage = replace(stage, train=sample_examples(stage.train, NORM_EXAMPLES, learner.generator))
    learner.reestimate_batch_norm()
    learner.stage = stage
    return learner.model.eval()


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters of a model by name, each one once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def by_layer(values: dict[str, Tensor]) -> dict[str, list[Tensor]]:
    """Group tensors named as the parameters of a model by the layer that holds them.

    A parameter of the model itself, which no layer holds, is a group of its own.
    """
    layers: dict[str, list[Tensor]] = {}
    for name, value in values.items():
        layers.setdefault(name.rpartition(".")[0] or name, []).append(value)
    return layers


def mean_gradient(learner: Learner, data: Dataset) -> dict[str, Tensor]:
    """Return the gradient of the mean loss on `data` for each trained parameter by name.

    In the mode that the model is in.
    """
    model = learner.model
    model.zero_grad(set_to_none=True)
    for x, y in data.batches(BATCH):
        learner.backward(model, x, y, weight=len(y) / len(data))
    return take_gradient(model)


def take_gradient(model: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of each trained parameter by name, and clear it; 0 for one that had no part."""
    gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in trained_parameters(model).items()
    }
    model.zero_grad(set_to_none=True)
    return gradients


def inner_product(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two lists of tensors as vectors, on their device."""
    return torch.stack([(one * other).sum() for one, other in zip(a, b, strict=True)]).sum()


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the cosine of the angle between two lists of tensors as vectors; NaN if one is 0."""
    # Two roots, not the root of a product, which float32 may not be able to hold.
    return float(inner_product(a, b) / inner_product(a, a).sqrt() / inner_product(b, b).sqrt())


def hessian_product(learner: Learner, data: Dataset, vector: Sequence[Tensor]) -> list[Tensor]:
    """Return the product of the Hessian of the mean loss on `data` with a vector, by two backward passes.

    The vector has the shapes of `trained_parameters`, and so has the product. In the mode that the model
    is in; every layer must have a second derivative.
    """
    model, weights = learner.model, list(trained_parameters(learner.model).values())
    total = [torch.zeros_like(weight) for weight in weights]
    with learner.counting(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for x, y in data.batches(BATCH):
            logits = model(arranged(x, learner.device.memory_format(model)))
            loss = learner.loss(logits, y) * (len(y) / len(data))
            gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
            along = inner_product(gradients, vector)
            products = torch.autograd.grad(along, weights, materialize_grads=True)
            torch._foreach_add_(total, products)
            learner.device.mark_step()
    learner.cost.remedy_passes += len(data)
    return total


def unit_means(learner: Learner, data: Dataset, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return the mean over examples and positions of a function of the activations of every hidden unit.

    The means (units,) of each layer are on the device. `of` is applied elementwise to activations after
    normalization and nonlinearity, (b, units, positions). In the mode that the model is in.
    """
    layers, count = learner.hidden_units(), 0
    sums = [torch.zeros(len(units), device=learner.device.torch_device) for units in layers]
    for x, _ in data.batches(BATCH):
        with watch_activations(layers) as activations:
            learner.forward(learner.model, x)
        means = [of(h).float().mean(2).sum(0) for h in activations]
        sums = [total + mean for total, mean in zip(sums, means, strict=True)]
        count += len(x)
    return {units.name: total / count for units, total in zip(layers, sums, strict=True)}


def train_stage(learner: Learner) -> int:
    """Train a copied learner on its stage by the recipe, without a remedy; return the number of steps."""
    steps = learner.cost.steps
    Trainer(learner, Method(), TrainingCallback(), Checkpointer()).run()
    return learner.cost.steps - steps

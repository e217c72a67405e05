"""Accuracy and loss: running sums during training, and the evaluation of a model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.data.dataset import Dataset
from plastibench.devices import Device
from plastibench.devices.compile import CompiledForward
from plastibench.devices.device import arranged
from plastibench.devices.graph_capture import GraphCapturer, GraphedStep
from plastibench.distributed.ranks import SOLO, Part, Ranks
from plastibench.plugins.recipe import AccuracyAverage, Recipe
from plastibench.training.flops import Flops, add_flops, cached_pass_flops

MIN_CAPTURED_BATCHES = 8
"""Whole batches from which on capturing a pass takes less time than it saves."""


@dataclass(frozen=True)
class Metrics:
    """Accuracy and loss on some examples."""

    num_correct: int
    num_examples: int
    mean_batch_accuracy: float
    """Plain mean of the batches' accuracies, a small last batch weighing as much as a whole one."""
    loss: float
    """Mean over examples."""
    flops: Flops | None = None
    """Of the forward passes of `evaluate`, or None if they could not be counted."""

    def accuracy(self, average: AccuracyAverage) -> float:
        """Return the accuracy in 0..1, averaged over examples or over batches."""
        return self.num_correct / self.num_examples if average == "examples" else self.mean_batch_accuracy


_NONE: Flops | None = Flops(0, 0)


class RunningMetrics:
    """Sums that stay on the device until `compute`, over the batches of all ranks."""

    def __init__(self, device: Device, ranks: Ranks = SOLO) -> None:
        self._ranks = ranks
        # float32 counts exactly up to 2^24 examples; int64 is slow or missing on some devices.
        self._sums = torch.zeros(3, device=device.torch_device)
        self._num_examples = self._num_batches = 0

    def reset(self) -> None:
        """Set the sums to zero, in the same memory."""
        self._sums.zero_()
        self._num_examples = self._num_batches = 0

    def update_sums(self, logits: Tensor, y: Tensor, loss: Tensor, part: Part | None = None) -> None:
        """Add a batch, of which each rank has a part: logits (b, classes), y (b,), its mean loss."""
        total = len(y) if part is None else part.total
        correct = (logits.argmax(1) == y).sum(dtype=torch.float32)
        sums = torch.stack([correct, correct / total, loss.float() * len(y)])
        if part is not None and not part.counts:
            sums.zero_()
        self._ranks.sum_([sums])
        self._sums += sums

    def count_batch(self, num_examples: int) -> None:
        """Add the size of a batch on the host; a replayed step runs the device part alone."""
        self._num_examples += num_examples
        self._num_batches += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far, for a checkpoint."""
        sums = self._sums.to("cpu", copy=True)
        return {"sums": sums, "num_examples": self._num_examples, "num_batches": self._num_batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from sums that `state_dict` returned."""
        self._sums.copy_(state["sums"])
        self._num_examples, self._num_batches = state["num_examples"], state["num_batches"]

    def compute(self) -> Metrics:
        """Wait for the device and return the metrics."""
        correct, accuracies, loss = self._sums.cpu().tolist()
        return Metrics(
            num_correct=int(correct),
            num_examples=self._num_examples,
            mean_batch_accuracy=accuracies / self._num_batches,
            loss=loss / self._num_examples,
        )


def evaluate(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    device: Device,
    num_classes: int | None = None,
    *,
    ranks: Ranks = SOLO,
    capturer: GraphCapturer | None = None,
) -> Metrics:
    """Return the metrics of a model in evaluation mode, and leave the model as it was.

    `num_classes` is how many classes a prediction is chosen from, the first ones; None is all. Each of the
    `ranks` takes a part of the data. `capturer` captures the pass of a whole batch if there are enough of
    them for that to pay off.
    """
    metrics, total = RunningMetrics(device, ranks), _NONE
    part: Part | None = None
    with _evaluating(model, recipe, device) as forward:

        def update(images: Tensor, y: Tensor) -> None:
            known = forward(images)[:, :num_classes]
            metrics.update_sums(known, y, F.cross_entropy(known, y), part)

        pays_off = len(data) >= MIN_CAPTURED_BATCHES * recipe.test_batch_size
        take = update if capturer is None or not pays_off else partial(GraphedStep[None](capturer), update)
        for images, y, part, flops in _batches(model, data, recipe, device, ranks):
            take(images, y)
            total = add_flops(total, flops)
            metrics.count_batch(part.total)
            device.mark_step()
    return replace(metrics.compute(), flops=total)


def predict(model: nn.Module, data: Dataset, recipe: Recipe, device: Device) -> tuple[Tensor, Flops | None]:
    """Return the logits of a model in evaluation mode, (n, classes) float32 on the CPU, and their FLOPs."""
    found, total = [], _NONE
    with _evaluating(model, recipe, device) as forward:
        for images, _, _, flops in _batches(model, data, recipe, device, SOLO):
            found.append(forward(images))
            total = add_flops(total, flops)
            device.mark_step()
    return torch.cat(found).cpu(), total


@contextmanager
def _evaluating(model: nn.Module, recipe: Recipe, device: Device) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield the forward pass of a model, which is in evaluation mode until the end.

    What is done in the context is done without gradient and in the recipe's precision.
    """
    passes = CompiledForward(device, recipe.test_batch_size)

    def forward(images: Tensor) -> Tensor:
        with device.benchmarking(enabled=len(images) == recipe.test_batch_size):
            return passes(model, images).float()

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), device.autocast(recipe.precision):
            yield forward
    finally:
        for module, training in modes:
            module.training = training


def _batches(
    model: nn.Module, data: Dataset, recipe: Recipe, device: Device, ranks: Ranks
) -> Iterator[tuple[Tensor, Tensor, Part, Flops | None]]:
    """Yield a rank's part of each batch, arranged for the model, and the FLOPs of the whole batch."""
    count, memory_format = cached_pass_flops(model, backward=False), device.memory_format(model)
    for x, y, part in data.batches_of_rank(ranks, recipe.test_batch_size):
        yield arranged(x, memory_format), y, part, count(part.shape(x))

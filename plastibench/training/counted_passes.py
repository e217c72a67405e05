"""The passes and matrix products that a method computes itself, counted as its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.data.dataset import Dataset
from plastibench.devices import Device
from plastibench.devices.device import arranged
from plastibench.devices.graph_capture import GraphCapturer
from plastibench.distributed.ranks import SOLO, Part, Ranks
from plastibench.plugins.task import Stage, Task
from plastibench.training import flops
from plastibench.training.activation_memory import micro_batch_size
from plastibench.training.cost import Cost
from plastibench.training.evaluation import evaluate


class CountedPasses:
    """Passes through models on the device and by the recipe of a task."""

    task: Task
    stage: Stage
    """The stage that is being trained, or is about to be."""
    device: Device
    capturer: GraphCapturer | None
    """Captures evaluations, if the device can."""
    cost: Cost
    """What the current stage has cost so far."""
    counts_backward: bool
    """Whether the backward pass that follows contains matrix products of the method's own."""
    batch: Tensor | None
    ranks: Ranks = SOLO
    """The processes that train the run. All have the same batches but for that of a training step."""
    part: Part | None = None
    """What `batch` is of the batch of the step, while there is one."""

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss alone, the mean cross-entropy; logits (b, classes), y (b,)."""
        return F.cross_entropy(self.known(logits).float(), y)

    def known(self, logits: Tensor) -> Tensor:
        """Return the logits of the classes that the stage knows, (b, known classes): usually all."""
        known = self.stage.num_classes
        return logits if known is None else logits[:, :known]

    def outputs(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return what a model makes of a batch (b, c, h, w) on the device: the logits (b, classes)."""
        logits: Tensor = model(arranged(x, self.device.memory_format(model)))
        return logits

    def backward(
        self, model: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0, *, split: bool = False
    ) -> Tensor:
        """Add the gradient of `weight` times the mean loss on a batch to the `.grad` of `model`.

        For passes of the method itself, and counted as such. With `split`, a batch that would keep more
        memory than the device allows is passed in parts, which changes the gradient by rounding. Returns the
        mean loss.
        """
        part = self._part(x)
        if part is not None:
            return self._backward_part(model, x, y, weight, part, split=split)
        size = micro_batch_size(model, x, self.device.activation_memory) if split else len(x)
        losses: list[Tensor] = []
        for images, labels in zip(x.split(size), y.split(size), strict=True):
            with torch.enable_grad():
                with self.device.autocast(self.task.recipe.precision):
                    logits = self.outputs(model, images)
                loss = self.loss(logits, labels)
                (loss * (weight * len(labels) / len(y))).backward()
            losses.append(loss.detach() * (len(labels) / len(y)))
            self.device.mark_step()
            self.cost.remedy_passes += len(labels)
            self.cost.add_flops("remedy", flops.pass_flops(model, images.shape, backward=True))
        return torch.stack(losses).sum()

    def _part(self, x: Tensor) -> Part | None:
        """Return what this rank takes of a batch, or None if it takes all."""
        if self.ranks.size == 1:
            return None
        part = self.part if self._is_step_batch(x) else self.ranks.part(len(x))
        return part if part is not None and part.is_split else None

    def _is_step_batch(self, x: Tensor) -> bool:
        if self.ranks.size == 1 or self.part is None or self.batch is None:
            return False
        return x.data_ptr() == self.batch.data_ptr()

    def _backward_part(
        self, model: nn.Module, x: Tensor, y: Tensor, weight: float, part: Part, *, split: bool
    ) -> Tensor:
        """Do what `backward` does, each rank with a part of the batch; all get the same sums."""
        if not self._is_step_batch(x):
            x, y = part.of(x), part.of(y)
        alone, cost = copy.copy(self), self.cost
        alone.ranks, alone.cost, alone.part = SOLO, Cost(), None
        parameters = list(model.parameters())
        before = [parameter.grad for parameter in parameters]
        model.zero_grad(set_to_none=True)
        with self.ranks.synchronized(part):
            loss = alone.backward(model, x, y, weight * part.weight, split=split) * part.weight
        self.ranks.sum_([p.grad for p in parameters if p.grad is not None])
        self.ranks.sum_([loss])
        for parameter, gradient in zip(parameters, before, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
        cost.remedy_passes += part.total
        cost.add_flops("remedy", flops.pass_flops(model, part.shape(x), backward=True))
        return loss

    def forward(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the logits of a batch that count, without gradient, in the mode of `model`; counted."""
        part = self._part(x) if self._is_step_batch(x) else None
        synchronized = nullcontext() if part is None else self.ranks.synchronized(part)
        with torch.no_grad(), self.device.autocast(self.task.recipe.precision), synchronized:
            logits = self.outputs(model, x)
        self.device.mark_step()
        shape = x.shape if part is None else part.shape(x)
        self.cost.remedy_forwards += shape[0]
        self.cost.add_flops("remedy", flops.pass_flops(model, shape, backward=False))
        return self.known(logits)

    def accuracy(self, model: nn.Module, data: Dataset) -> float:
        """Return the accuracy in 0..1 of a model in evaluation mode, as the run's test accuracy is computed.

        Counted, and the model is left as it was.
        """
        recipe, classes = self.task.recipe, self.stage.num_classes
        how: dict[str, Any] = {"ranks": self.ranks, "capturer": self.capturer}
        metrics = evaluate(model, data, recipe, self.device, classes, **how)
        self.cost.remedy_forwards += metrics.num_examples
        self.cost.add_flops("remedy", metrics.flops)
        return metrics.accuracy(self.task.recipe.test_accuracy)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the FLOPs of matrix products in the context: for those of the method outside of passes.

        In `loss_term`, those of their backward pass are counted, too.
        """
        with flops.ProductCounter() as counter:
            yield
        self.cost.add_flops("remedy", flops.Flops(counter.flops, 0))
        self.counts_backward = torch.is_grad_enabled()

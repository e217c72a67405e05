"""TODO."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from plastibench.data.dataset import Dataset
from plastibench.devices import Device
from plastibench.devices.compile import CompiledForward
from plastibench.plugins.recipe import AccuracyAverage, Recipe
from plastibench.training import flops


@dataclass(frozen=True)
class Metrics:
    """How many examples were classified rightly, and the mean of the batches' shares."""

    correct: int
    total: int
    batch_mean: float
    loss: float
    """Mean over examples."""
    work: flops.Flops | None = None
    """Of the forward passes, where `evaluate` made them and could count it."""

    def by(self, counting: AccuracyAverage) -> float:
        """Return the accuracy in 0..1 as `counting` says."""
        return self.correct / self.total if counting == "examples" else self.batch_mean


class RunningMetrics:
    """Sums kept on the device and read once."""

    def __init__(self, device: Device) -> None:
        # float32 counts exactly up to 2^24 examples; int64 is slow or absent on some devices.
        self._sums = torch.zeros(3, device=device.torch_device)
        self._total = 0
        self._batches = 0

    def reset(self) -> None:
        """Start anew, in the same memory."""
        self._sums.zero_()
        self._total = self._batches = 0

    def update(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Count a batch: logits (b, classes), y (b,), and its mean loss."""
        self.update_sums(logits, y, loss)
        self.count_batch(len(y))

    def update_sums(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Do that part of `add` which happens on the device."""
        correct = (logits.argmax(1) == y).sum(dtype=torch.float32)
        self._sums += torch.stack([correct, correct / len(y), loss.float() * len(y)])

    def count_batch(self, examples: int) -> None:
        """Do the other part: note a batch of so many examples."""
        self._total += examples
        self._batches += 1

    def state_dict(self) -> tuple[Tensor, int, int]:
        """Return the sums so far, for a checkpoint."""
        return self._sums.to("cpu", copy=True), self._total, self._batches

    def load_state_dict(self, state: tuple[Tensor, int, int]) -> None:
        """Go on from sums that `state` returned."""
        sums, self._total, self._batches = state
        self._sums.copy_(sums)

    def compute(self) -> Metrics:
        """Wait for the device and return the sums."""
        correct, shares, loss = self._sums.cpu().tolist()
        return Metrics(int(correct), self._total, shares / self._batches, loss / self._total)


def evaluate(model: nn.Module, data: Dataset, recipe: Recipe, device: Device) -> Metrics:
    """Return the accuracy of `model` on `data`, leaving the model as it was."""
    metrics, memory_format = RunningMetrics(device), device.memory_format(model)
    forward = CompiledForward(device, recipe.test_batch_size)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad(), device.autocast(recipe.precision):
        work, works = flops.ZERO_FLOPS, flops.cached_pass_flops(model, backward=False)
        for x, y in data.batches(recipe.test_batch_size):
            work = flops.add_flops(work, works(x.shape))
            logits = forward(model, x.contiguous(memory_format=memory_format)).float()
            metrics.update(logits, y, torch.nn.functional.cross_entropy(logits, y))
            device.mark_step()
    for module, training in modes:
        module.training = training
    return replace(metrics.compute(), work=work)

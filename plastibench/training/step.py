"""One training step and one evaluation, fast on any device: nothing here makes the host wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from plastibench import flops
from plastibench.capture import Recorded, Say
from plastibench.compiled import Forward
from plastibench.data.core import Data
from plastibench.devices import Device
from plastibench.learner import Learner
from plastibench.method import Method
from plastibench.task import Counting, Recipe


@dataclass(frozen=True)
class Accuracy:
    """How many examples were classified rightly, and the mean of the batches' shares."""

    correct: int
    total: int
    batch_mean: float
    loss: float
    """Mean over examples."""
    work: flops.Work | None = None
    """Of the forward passes, where `evaluate` made them and could count it."""

    def by(self, counting: Counting) -> float:
        """Return the accuracy in 0..1 as `counting` says."""
        return self.correct / self.total if counting == "examples" else self.batch_mean


class Tally:
    """Sums kept on the device and read once."""

    def __init__(self, device: Device) -> None:
        # float32 counts exactly up to 2^24 examples; int64 is slow or absent on some devices.
        self._sums = torch.zeros(3, device=device.torch)
        self._total = 0
        self._batches = 0

    def clear(self) -> None:
        """Start anew, in the same memory."""
        self._sums.zero_()
        self._total = self._batches = 0

    def add(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Count a batch: logits (b, classes), y (b,), and its mean loss."""
        self.sum(logits, y, loss)
        self.number(len(y))

    def sum(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Do that part of `add` which happens on the device."""
        correct = (logits.argmax(1) == y).sum(dtype=torch.float32)
        self._sums += torch.stack([correct, correct / len(y), loss.float() * len(y)])

    def number(self, examples: int) -> None:
        """Do the other part: note a batch of so many examples."""
        self._total += examples
        self._batches += 1

    def state(self) -> tuple[Tensor, int, int]:
        """Return the sums so far, for a checkpoint."""
        return self._sums.to("cpu", copy=True), self._total, self._batches

    def restore(self, state: tuple[Tensor, int, int]) -> None:
        """Go on from sums that `state` returned."""
        sums, self._total, self._batches = state
        self._sums.copy_(sums)

    def read(self) -> Accuracy:
        """Wait for the device and return the sums."""
        correct, shares, loss = self._sums.cpu().tolist()
        return Accuracy(int(correct), self._total, shares / self._batches, loss / self._total)


class Engine:
    """Takes training steps for a learner under a method, within one stage."""

    def __init__(self, learner: Learner, method: Method, say: Say = lambda _: None) -> None:
        """Prepare; `say` is told what of it is worth a line."""
        self.learner = learner
        self.method = method
        self.recipe: Recipe = learner.task.recipe
        self.tally = Tally(learner.device)
        self.layout = learner.device.layout(learner.model)
        self._pass = flops.pass_works(learner.model, backward=True)
        self._forward = Forward(learner.device, self.recipe.batch_size, say)
        self._recorded = self._recorder(say)

    def _recorder(self, say: Say) -> Recorded | None:
        """Return what records steps and replays them, or None where Python takes each one."""
        recorder = self.learner.device.recorder()
        if recorder is None:
            return None
        if not self.method.can_be_recorded():
            name = type(self.method).__name__
            say(f"{name} does not declare its hooks capturable: each step is taken anew, none is replayed")
            return None
        return Recorded(recorder, say)

    def begin_epoch(self) -> None:
        """Start counting anew."""
        self.tally.clear()

    def step(self, x: Tensor, y: Tensor) -> None:
        """Update the weights once on a batch: x (b, c, h, w) prepared, y (b,)."""
        self._number = self.learner.step
        images = x.contiguous(memory_format=self.layout)
        if self._recorded is None:
            passes = self._update(images, y)
        else:
            passes = self._recorded.take(self._update, images, y)
        # What only the host counts. A step that is replayed has not run the line of `_update` for it.
        self.learner.step = self._number + 1
        self.tally.number(len(y))
        self._count(x.shape, passes)

    def _update(self, images: Tensor, y: Tensor) -> int:
        """Do all of a step that happens on the device; return how many passes it took."""
        learner, device = self.learner, self.learner.device
        passes: list[tuple[Tensor, Tensor]] = []

        def closure() -> Tensor:
            learner.optimizer.zero_grad(set_to_none=True)
            with self._statistics(len(passes)), device.precision(self.recipe.precision):
                logits = self._forward(learner.model, images)
            loss = learner.loss(logits, y)
            passes.append((logits.detach(), loss.detach()))
            total = loss + self.method.loss_term(learner, logits, y)
            total.backward()
            device.mark_step()
            return total.detach()

        learner.step = self._number
        # torch declares closures to return float, and every optimizer of its own takes a tensor.
        learner.optimizer.step(closure)  # type: ignore[arg-type]
        learner.step += 1
        with torch.no_grad():
            self.method.after_step(learner)
        device.mark_step()
        # Accuracy is that of the weights the step started from, as SAM's paper and the DASH code have it.
        self.tally.sum(passes[0][0], y, passes[0][1])
        return len(passes)

    def _count(self, shape: torch.Size, passes: int) -> None:
        cost, examples = self.learner.cost, shape[0]
        cost.steps += 1
        cost.samples += examples
        cost.train_passes += examples * passes
        cost.second_passes += examples * (passes - 1)
        a_pass, update = self._pass(shape), self._update_work
        cost.work("train", None if a_pass is None or update is None else a_pass * passes + update)

    @cached_property
    def _update_work(self) -> flops.Work | None:
        return flops.update_work(self.learner.model, self.recipe)

    def _statistics(self, passes_before: int) -> AbstractContextManager[None]:
        if passes_before and self.recipe.sam_statistics == "first":
            return still_statistics(self.learner.model)
        return nullcontext()


@contextmanager
def still_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch as in training, but leave the running statistics where they are."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, kept, strict=True):
            norm.track_running_stats = track


def evaluate(model: nn.Module, data: Data, recipe: Recipe, device: Device) -> Accuracy:
    """Return the accuracy of `model` on `data`, leaving the model as it was."""
    tally, layout = Tally(device), device.layout(model)
    forward = Forward(device, recipe.test_batch_size)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad(), device.precision(recipe.precision):
        work, works = flops.NOTHING, flops.pass_works(model, backward=False)
        for x, y in data.batches(recipe.test_batch_size):
            work = flops.add(work, works(x.shape))
            logits = forward(model, x.contiguous(memory_format=layout)).float()
            tally.add(logits, y, torch.nn.functional.cross_entropy(logits, y))
            device.mark_step()
    for module, training in modes:
        module.training = training
    return replace(tally.read(), work=work)

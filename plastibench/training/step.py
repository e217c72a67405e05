"""One training step and one evaluation, fast on any device: nothing here makes the host wait."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor

from plastibench.devices.compile import CompiledForward
from plastibench.devices.graph_capture import GraphedStep, Say
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.training import flops
from plastibench.training.batch_norm import frozen_batch_norm_statistics
from plastibench.training.evaluation import RunningMetrics
from plastibench.training.learner import Learner


class TrainStep:
    """Takes training steps for a learner under a method, within one stage."""

    def __init__(self, learner: Learner, method: Method, say: Say = lambda _: None) -> None:
        """Prepare; `say` is told what of it is worth a line."""
        self.learner = learner
        self.method = method
        self.recipe: Recipe = learner.task.recipe
        self.metrics = RunningMetrics(learner.device)
        self.memory_format = learner.device.memory_format(learner.model)
        self._pass = flops.cached_pass_flops(learner.model, backward=True)
        self._forward = CompiledForward(learner.device, self.recipe.batch_size, say)
        self._recorded = self._recorder(say)

    def _recorder(self, say: Say) -> GraphedStep | None:
        """Return what records steps and replays them, or None where Python takes each one."""
        recorder = self.learner.device.graph_capturer()
        if recorder is None:
            return None
        if not self.method.can_be_captured():
            name = type(self.method).__name__
            say(f"{name} does not declare its hooks capturable: each step is taken anew, none is replayed")
            return None
        return GraphedStep(recorder, say)

    def begin_epoch(self) -> None:
        """Start counting anew."""
        self.metrics.reset()

    def step(self, x: Tensor, y: Tensor) -> None:
        """Update the weights once on a batch: x (b, c, h, w) prepared, y (b,)."""
        self._number = self.learner.step
        images = x.contiguous(memory_format=self.memory_format)
        if self._recorded is None:
            passes = self._update(images, y)
        else:
            passes = self._recorded.take(self._update, images, y)
        # What only the host counts. A step that is replayed has not run the line of `_update` for it.
        self.learner.step = self._number + 1
        self.metrics.count_batch(len(y))
        self._count(x.shape, passes)

    def _update(self, images: Tensor, y: Tensor) -> int:
        """Do all of a step that happens on the device; return how many passes it took."""
        learner, device = self.learner, self.learner.device
        passes: list[tuple[Tensor, Tensor]] = []

        def closure() -> Tensor:
            learner.optimizer.zero_grad(set_to_none=True)
            with self._statistics(len(passes)), device.autocast(self.recipe.precision):
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
        self.metrics.update_sums(passes[0][0], y, passes[0][1])
        return len(passes)

    def _count(self, shape: torch.Size, passes: int) -> None:
        cost, examples = self.learner.cost, shape[0]
        cost.steps += 1
        cost.samples += examples
        cost.train_passes += examples * passes
        cost.second_passes += examples * (passes - 1)
        a_pass, update = self._pass(shape), self._update_work
        cost.add_flops("train", None if a_pass is None or update is None else a_pass * passes + update)

    @cached_property
    def _update_work(self) -> flops.Flops | None:
        return flops.update_flops(self.learner.model, self.recipe)

    def _statistics(self, passes_before: int) -> AbstractContextManager[None]:
        if passes_before and self.recipe.sam_statistics == "first":
            return frozen_batch_norm_statistics(self.learner.model)
        return nullcontext()

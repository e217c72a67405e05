"""One training step, fast on any device: nothing here makes the host wait."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from plastibench.devices.compile import CompiledForward
from plastibench.devices.device import AUTOCAST, arranged
from plastibench.devices.graph_capture import GraphCapturer, GraphedStep
from plastibench.distributed.ranks import Part
from plastibench.plugins.method import Method, call_hook
from plastibench.plugins.recipe import Recipe
from plastibench.seeding import derive_seed
from plastibench.training import flops
from plastibench.training.batch_counters import BatchCounters
from plastibench.training.batch_norm import frozen_batch_norm_statistics
from plastibench.training.built_models import check_logits, num_outputs
from plastibench.training.callbacks import TrainingCallback
from plastibench.training.cast_weights import weights_cast_together
from plastibench.training.cost import RemedyWork
from plastibench.training.evaluation import RunningMetrics
from plastibench.training.learner import Learner
from plastibench.training.loss_term import call_loss_term
from plastibench.training.model_state import plain_attributes
from plastibench.training.muon import hidden_matrices
from plastibench.training.watching import watch_activations


@dataclass(frozen=True)
class StepCounts:
    """What the host counts of a step."""

    num_passes: int
    remedy: RemedyWork
    """The method's own work, which a replay repeats."""


class TrainStep:
    """Takes training steps for a learner with a method, within one stage."""

    def __init__(
        self,
        learner: Learner,
        method: Method,
        capturer: GraphCapturer | None = None,
        callback: TrainingCallback | None = None,
    ) -> None:
        """Prepare steps that `capturer` captures, or that run eagerly if it is None."""
        self._on_log = on_log = (callback or TrainingCallback()).on_log
        self.learner = learner
        self.method = method
        self.recipe: Recipe = learner.task.recipe
        self.metrics = RunningMetrics(learner.device, learner.ranks)
        self._memory_format = learner.device.memory_format(learner.model)
        self._trained: list[bool] | None = None
        self._find_flops()
        self._forward = CompiledForward(learner.device, self.recipe.batch_size, on_log)
        self._counters = BatchCounters()
        self._is_checked = self._has_logits = False
        self._graphed = None if capturer is None else GraphedStep[StepCounts](capturer, on_log)

    def __call__(self, x: Tensor, y: Tensor, part: Part | None = None) -> None:
        """Update the weights once on a batch: x (b, c, h, w) prepared, y (b,).

        `part` is what they are of a batch that several ranks share; None is the whole batch of one rank.
        """
        self._part = Part(0, len(y), len(y)) if part is None else part
        self._seed_layers()
        if not self.method.can_be_captured():  # its hooks may have frozen weights
            self._find_flops()
        self._step, before = self.learner.step, self.learner.cost.remedy_work()
        one_pass = self._pass_flops(self._part.shape(x))
        images = arranged(x, self._memory_format)
        with self.learner.device.benchmarking(enabled=self._part.total == self.recipe.batch_size):
            if self._graphed is None:
                counts = self._update(images, y)
            else:
                counts = self._take_graphed_step(self._graphed, images, y)
        # What the host counts: a replay does not run the lines of `_update` that do it.
        self.learner.step = self._step + 1
        self.metrics.count_batch(self._part.total)
        self._add_cost(self._part.total, counts.num_passes, one_pass)
        # A replay has counted nothing of it, and a capture that failed has counted it twice.
        counted = self.learner.cost.remedy_work().since(before)
        self.learner.cost.add_remedy_work(counts.remedy.since(counted))

    def _take_graphed_step(self, step: GraphedStep[StepCounts], images: Tensor, y: Tensor) -> StepCounts:
        """Take a step that is captured sooner or later, unless the first one shows that it must not be."""
        before = None if self._is_checked else plain_attributes(self.learner.model)
        counts = step(self._update, images, y)
        if before is not None and before != plain_attributes(self.learner.model):
            self._graphed = None
            self._on_log("the model counts in Python, which a replay would not do: each step is run eagerly")
        self._is_checked = True
        return counts

    def _update(self, images: Tensor, y: Tensor) -> StepCounts:
        """Do all of a step that runs on the device; return what the host counts of it."""
        learner, device, part = self.learner, self.learner.device, self._part
        passes: list[tuple[Tensor, Tensor]] = []
        before = learner.cost.remedy_work()

        def closure() -> Tensor:
            learner.optimizer.zero_grad(set_to_none=True)
            statistics = self._batch_norm_statistics(len(passes))
            autocast, shared = device.autocast(self.recipe.precision), learner.ranks.synchronized(part)
            with statistics, autocast, self._cast_weights(images), shared:
                logits = learner.known(self._checked_logits(images, y, is_first=not passes))
            loss = learner.loss(logits, y)
            passes.append((logits.detach(), loss.detach()))
            total = loss + call_loss_term(self.method, learner, logits, y)
            self._backward(part.weighted(total), images.shape)
            if learner.ranks.size > 1:
                learner.ranks.sum_([p.grad for p in learner.model.parameters() if p.grad is not None])
            device.mark_step()
            return total.detach()

        learner.step, learner.batch, learner.part = self._step, images, part
        # torch declares that closures return float, but every optimizer of its own takes a tensor.
        learner.optimizer.step(closure)  # type: ignore[arg-type]
        learner.step += 1
        with torch.no_grad():
            call_hook(self.method, "after_step", learner)
        device.mark_step()
        # The accuracy is that of the weights before the step, as in SAM's paper and the DASH code.
        logits, loss = passes[0]
        self.metrics.update_sums(logits, y, loss, part)
        learner.activations = learner.batch = learner.part = None
        return StepCounts(len(passes), learner.cost.remedy_work().since(before))

    def _cast_weights(self, images: Tensor) -> AbstractContextManager[None]:
        separately = self._forward.compiles(images) or not self.learner.device.casts_together
        dtype = None if separately else AUTOCAST.get(self.recipe.precision)
        return nullcontext() if dtype is None else weights_cast_together(self.learner.model, dtype)

    def _checked_logits(self, images: Tensor, y: Tensor, *, is_first: bool) -> Tensor:
        """Return the logits; those of the first step are checked."""
        logits = self._logits(images, is_first=is_first)
        if not self._has_logits:
            learner = self.learner
            # Between stages a method may change the size of the output.
            classes = None if learner.stage.index else num_outputs(learner.task)
            check_logits(logits, y, learner.task, self.method, classes)
            self._has_logits = True
        return logits

    def _logits(self, images: Tensor, *, is_first: bool) -> Tensor:
        """Return the logits; if the method watches, keep the activations of the step's first pass."""
        learner = self.learner
        if not (learner.watching and is_first):
            is_compiled, model = self._forward.compiles(images), learner.model
            counters = self._counters
            with counters.compiled(model, images.shape) if is_compiled else counters.eager(model):
                return self._forward(model, images)
        watch = watch_activations(learner.hidden_units())  # compiled code would miss the hooks
        with self._counters.eager(learner.model), watch as activations:
            logits: Tensor = learner.model(images)
        learner.activations = [learner.ranks.gather(h, self._part) for h in activations]
        return logits

    def _seed_layers(self) -> None:
        """Give layers that draw, such as dropout, numbers of their own on every rank but the first.

        They depend on the step, so that a checkpoint, which is the first rank's, need not hold them.
        """
        learner = self.learner
        if learner.ranks.rank:
            stream = "layers", learner.stage.index, learner.ranks.rank, learner.step
            learner.device.manual_seed(derive_seed(learner.seed, *stream))

    def _backward(self, total: Tensor, shape: torch.Size) -> None:
        """Compute gradients; what `loss_term` counted in `learner.counting` is counted backward, too."""
        learner = self.learner
        if not learner.counts_backward:
            total.backward()
            return
        learner.counts_backward = False
        with flops.ProductCounter() as counter:
            total.backward()
        both, forward = self._pass_flops(shape), self._forward_flops(shape)
        of_model = None if both is None or forward is None else both.matrix - forward.matrix
        own = None if of_model is None else flops.Flops(counter.flops - of_model, 0)
        learner.cost.add_flops("remedy", own)

    def _batch_norm_statistics(self, num_passes_before: int) -> AbstractContextManager[None]:
        if num_passes_before and self.recipe.sam_statistics == "first":
            return frozen_batch_norm_statistics(self.learner.model)
        return nullcontext()

    def _add_cost(self, examples: int, num_passes: int, one_pass: flops.Flops | None) -> None:
        cost = self.learner.cost
        cost.steps += 1
        cost.samples += examples
        cost.train_passes += examples * num_passes
        cost.second_passes += examples * (num_passes - 1)
        passes = None if one_pass is None else one_pass * num_passes
        cost.add_flops("train", flops.add_flops(passes, self._update_flops))

    def _find_flops(self) -> None:
        """Look the FLOPs of a step up, again if other weights are trained than at the step before."""
        trained = [parameter.requires_grad for parameter in self.learner.model.parameters()]
        if trained != self._trained:
            self._trained, model = trained, self.learner.model
            matrices = hidden_matrices(self.recipe, model, self.learner.head_name)
            self._pass_flops = flops.cached_pass_flops(model, backward=True)
            self._forward_flops = flops.cached_pass_flops(model, backward=False)
            self._update_flops = flops.update_flops(model, self.recipe, matrices)

"""A learner around one's own model and optimizer, which are changed in place and never replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plastibench.data.no_data import NoData
from plastibench.errors import RequestError
from plastibench.plugins.layers import check_trainable
from plastibench.plugins.method import Method
from plastibench.plugins.task import Stage
from plastibench.plugins.values import show
from plastibench.seeding import seeded_init
from plastibench.standalone import nested
from plastibench.standalone.fresh_models import like
from plastibench.standalone.frozen_norms import frozen_norms, kept_in_evaluation
from plastibench.standalone.own import Own, logits_of
from plastibench.standalone.own_data import BatchSource, OwnData
from plastibench.standalone.own_optimized_model import OwnOptimizedModel
from plastibench.standalone.own_task import OwnDevice, own_task, recipe_of
from plastibench.standalone.tensors import set_tensors, tensors_of
from plastibench.standalone.unknown_groups import UnknownGroups
from plastibench.training.batch_norm import averaged_batch_norm_statistics, batch_norms
from plastibench.training.learner import Learner
from plastibench.training.model_copy import copy_model


class OwnLearner(OwnOptimizedModel, Learner):
    """What hooks may read and change of a model and an optimizer that are somebody's own."""

    source: BatchSource | None = None
    """The batches of the stage."""
    trains = False
    """Whether the model was in training mode when the remedy began to act."""

    def __init__(self, own: Own, method: Method) -> None:
        check_trainable(own.model)
        self.own, self._name = own, type(method).__name__
        self._look: Callable[[], None] | None = None
        optimizer = own.optimizer
        recipe = recipe_of(None if isinstance(optimizer, UnknownGroups) else optimizer)
        task = own_task(lambda: copy_model(own.model), recipe, own.head_name, own.hidden_units)
        super().__init__(task, method, own.seed, OwnDevice(own.model))
        self.check_optimizer()

    def _begin(self) -> None:
        self.optimizer = self.own.optimizer or UnknownGroups(
            f"{self._name} changes the optimizer: give it", {}
        )

    @property
    def model(self) -> nn.Module:
        """Return one's own model, after what was to be done before anybody looks at it."""
        if self._look is not None:
            look, self._look = self._look, None
            look()
        return self.own.model

    @model.setter
    def model(self, model: nn.Module) -> None:
        raise RequestError(f"{self._name} replaces the model, and your own can only be changed in place")

    def new_stage(self, index: int, source: BatchSource | None, chunks: tuple[int, ...] | None) -> None:
        """Start a stage with the data that there are now, `chunks` of them in order of arrival."""
        self.source = source
        train = (
            NoData(f"{self._name} looks at data: {self.own.without_data}")
            if source is None
            else OwnData(source)
        )
        if source is not None:
            recipe = replace(self.task.recipe, batch_size=max(2, source.batch_size()))
            self.task = replace(self.task, recipe=recipe)
        total = 0 if source is None else source.num_examples()
        if chunks is not None and sum(chunks) != total:
            raise RequestError(f"chunks={show(chunks)} are {sum(chunks)} examples, and batches have {total}")
        self.begin_stage(
            Stage(index=index, train=train, chunks=chunks or (total,), validation=None, test=None)
        )

    @contextmanager
    def at_the_start(self) -> Iterator[None]:
        """Let the model have its initial weights if somebody looks at it in the context."""
        now: dict[str, Tensor] = {}

        def swap() -> None:
            initial = self.initial_model().state_dict()
            now.update({name: t.clone() for name, t in tensors_of(self.own.model).items()})
            set_tensors(self.own.model, initial)

        self._look = swap
        try:
            yield
        finally:
            self._look = None
            set_tensors(self.own.model, now)

    def initial_model(self) -> nn.Module:
        """Return the model as it was given for the start of training; without it, newly initialized."""
        if self.own.initial is not None:
            return self.device.prepare_model(like(self.own.model, self.own.initial, "initial"))
        with seeded_init(self.seed, "init", 0, 0):
            return self.device.prepare_model(self.own.fresh.first())

    def fresh_model(self) -> nn.Module:
        """Return a newly initialized model on the device; each call within a stage draws another one."""
        with seeded_init(self.seed, "init", self.stage.index, self._drawn):
            model = self.own.fresh.draw()
        self._drawn += 1
        return self.device.prepare_model(model)

    def restart(self) -> None:
        """Give the model new weights and statistics, and clear the optimizer's state."""
        set_tensors(self.own.model, self.fresh_model().state_dict())
        self.reset_optimizer()

    def head_name(self) -> str:
        """Return the name of the layer that returns the logits. Raises RequestError if it is not known."""
        if self.task.architecture.head is None and self.source is None:
            raise RequestError(
                f"{self._name} asks for the layer that returns the logits: {self.own.without_head}"
            )
        return super().head_name()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the run and the random streams, without model and optimizer."""
        return {
            "seed": self.seed,
            "stage": self.stage.index,
            "step": self.step,
            "steps_of_stage": self.cost.steps,
            "drawn": self._drawn,
            "generator": self.generator.get_state(),
            "watching": self.watching,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, with the data of now."""
        self.seed = state["seed"]
        self.begin_stage(replace(self.stage, index=state["stage"]))
        self.step, self.cost.steps = state["step"], state["steps_of_stage"]
        self._drawn, self.watching = state["drawn"], state["watching"]
        self.generator.set_state(state["generator"])

    def steps_per_epoch(self) -> int:
        """Return the number of batches of the stage."""
        return len(self.stage.train) if self.source is None else self.source.num_batches()

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return one's own loss; by default that of the model's output, or the mean cross-entropy."""
        if self.own.loss is not None:
            return self.own.loss(logits, None if isinstance(y, nested.NoTargets) else y)
        own: Tensor | None = getattr(logits, "loss", None)  # of a model that returns several values
        return F.cross_entropy(logits_of(logits).float(), y) if own is None else own

    def outputs(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return what a model returns: of a mapping of inputs by their names, of a tuple in their order."""
        if isinstance(x, Mapping):
            return model(**x)
        if isinstance(x, tuple):
            return model(*x)
        return super().outputs(model, x) if isinstance(x, Tensor) else model(x)

    def backward(
        self, model: nn.Module, x: Tensor, y: Tensor, weight: float = 1.0, *, split: bool = False
    ) -> Tensor:
        """Add the gradient of `weight` times the mean loss; batches other than of tensors are not split."""
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return super().backward(model, x, y, weight, split=split)
        with torch.enable_grad():
            loss = self.loss(self.outputs(model, x), y)
            (loss * weight).backward()
        self.cost.remedy_passes += nested.num_examples(x)
        return loss.detach()

    def forward(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the logits of a batch, without gradient."""
        self.cost.remedy_forwards += nested.num_examples(x)
        with torch.no_grad():
            return logits_of(self.outputs(model, x))

    def reset_batch_norm(self) -> None:
        """Set running statistics to mean 0 and variance 1, but for layers that are frozen."""
        for norm in set(batch_norms(self.model)) - set(frozen_norms(self.own.model, trains=self.trains)):
            norm.reset_running_stats()

    def reestimate_batch_norm(self, model: nn.Module | None = None) -> None:
        """Measure running statistics in one pass over the batches, but for layers that are frozen."""
        model = self.model if model is None else model
        if not batch_norms(model):
            return
        if self.source is None:
            raise RequestError(
                f"{self._name} measures the running statistics of batch normalization again: "
                f"{self.own.without_data}; or set batch_norm=reset or keep"
            )
        modules = dict(model.named_modules())
        names = {module: name for name, module in self.own.model.named_modules()}
        frozen = [modules[names[norm]] for norm in frozen_norms(self.own.model, trains=self.trains)]
        with kept_in_evaluation(frozen), torch.no_grad(), averaged_batch_norm_statistics(model):
            for x, _ in self.stage.train.batches(self.task.recipe.batch_size):
                self.outputs(model, x)
                self.cost.remedy_forwards += nested.num_examples(x)

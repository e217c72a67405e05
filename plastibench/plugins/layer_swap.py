"""The base of remedies of architecture: the task's model with other activations or norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from plastibench.plugins.fields import setting, setting_names
from plastibench.plugins.layers import without_data
from plastibench.plugins.method import Method

if TYPE_CHECKING:
    from torch import nn

    from plastibench.plugins.task import Task
    from plastibench.training.learner import Learner


@dataclass(kw_only=True)
class LayerSwap(Method):
    """Trains the task's model with the layers that `factories` returns.

    A cold start is another one with other layers, so the remedy has its own: with `restart`.
    """

    restart: bool = False
    """Draw new weights before every stage: the cold start that this remedy is to be compared with."""

    def factories(self) -> Mapping[str, Callable[..., nn.Module]]:
        """Return `activation`, `norm` or both, as `Task.model` takes them."""
        return {}

    def build(self, task: Task) -> nn.Module:
        """Return the model with other layers."""
        return task.model(**self.factories())

    def before_stage(self, learner: Learner) -> None:
        """Continue from the old weights, or from new ones if it is the cold start."""
        if self.restart:
            learner.restart()

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the model has none of the layers to exchange."""
        made = set[str]()

        def noted(name: str, make: Callable[..., nn.Module], *width: int) -> nn.Module:
            made.add(name)
            return make(*width)

        factories = {name: partial(noted, name, make) for name, make in self.factories().items()}
        try:
            without_data(partial(task.model, **factories))
        except Exception:  # the run will build it on its device
            return None
        missing = sorted(factories.keys() - made)
        return f"the model takes no other {missing[0]}" if missing else None


@dataclass(kw_only=True)
class WideActivation(LayerSwap):
    """Exchanges activations for one that gives twice as many features, in a model of less width."""

    width: float | None = setting(0.707, within=(0.01, 1.0))
    """Factor of the model's setting `width`: sqrt(1/2) keeps the number of weights between two such layers.
    none leaves the width as it is."""

    def build(self, task: Task) -> nn.Module:
        """Return the model of less width with other activations."""
        return super().build(self._narrowed(task) or task)

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the model has no width, or no activation to exchange."""
        if self._narrowed(task) is None:
            model = type(task.architecture).__name__
            return f"{model} has no setting `width` to multiply by {self.width}: set width=none"
        return super().unsupported(task)

    def _narrowed(self, task: Task) -> Task | None:
        """Return the task with a narrower model, or None if the model has no width."""
        if self.width is None:
            return task
        if "width" not in setting_names(type(task.architecture)):
            return None
        width: int = task.architecture.width  # type: ignore[attr-defined]
        narrow = replace(task.architecture, width=max(1, round(width * self.width)))  # type: ignore[call-arg]
        return replace(task, architecture=narrow)

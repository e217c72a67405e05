"""The contract of a remedy: eight hooks, settings that are dataclass fields, two declared policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from plastibench.plugins.fields import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plastibench.plugins.task import Task
    from plastibench.training.learner import Learner

OptimizerState = Literal["keep", "clear"]
"""What becomes of momentum and moments between stages."""
BatchNorm = Literal["keep", "reset", "reestimate"]
"""What becomes of running statistics between stages: kept, set to (0, 1), or measured anew."""


@dataclass(kw_only=True)
class Method(Settings):
    """A remedy. A subclass is a dataclass too: init fields are settings, other fields are state.

    Exactly one of `start` and `before_stage` runs before each stage. A hook may read and change
    what the learner offers and nothing else; whatever it draws comes from `learner.generator`.
    """

    optimizer_state: OptimizerState = "keep"
    batch_norm: BatchNorm = "keep"

    disabled: ClassVar[Mapping[str, Any] | None] = None
    """Settings at which the remedy does nothing: a run then equals a warm start bit for bit."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Published variants: the name of a paper, and the settings with which it was published."""
    capturable: ClassVar[bool] = False
    """Whether `loss_term` and `after_step` can be recorded once a stage and replayed: within a stage they do
    the same operations on the same tensors at every step, and neither read a result nor draw on the CPU."""

    def build(self, task: Task) -> nn.Module:
        """Return the model to train; a remedy of architecture asks the task for a different one."""
        return task.model()

    def start(self, learner: Learner) -> None:
        """Prepare the first stage."""

    def before_stage(self, learner: Learner) -> None:
        """Prepare every later stage; `learner.stage` is the one about to be trained."""

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        """Return what is added to the task's loss; logits (b, classes), y (b,)."""
        return 0.0

    def after_step(self, learner: Learner) -> None:
        """Act after each update of the weights, without gradients."""

    def after_stage(self, learner: Learner) -> None:
        """Act after a stage has been trained and measured."""

    def evaluated(self, learner: Learner) -> nn.Module:
        """Return the model whose accuracy counts."""
        return learner.model

    def unsupported(self, task: Task) -> str | None:
        """Return the reason why this remedy cannot run on a task, or None."""
        return None

    @classmethod
    def acts_only_between_stages(cls) -> bool:
        """Return whether the first stage is a warm start's: no hook is used that could change it."""
        return not cls._uses("build", "start", "loss_term", "after_step", "evaluated")

    @classmethod
    def can_be_captured(cls) -> bool:
        """Return whether a step under this method can be recorded and replayed."""
        return cls.capturable or not cls._uses("loss_term", "after_step")

    @classmethod
    def _uses(cls, *hooks: str) -> bool:
        return any(getattr(cls, hook) is not getattr(Method, hook) for hook in hooks)

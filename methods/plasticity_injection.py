"""Plasticity injection: freeze the head, and train a new one beside it that starts from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from plastibench.api import ClassificationTask, Learner, Method, Task, find_head, setting


class InjectedHead(nn.Module):
    """h(x) + (a(x) - b(x)) with linear heads, of which b passes no gradient on to x."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        make = (nn.Linear(head.in_features, head.out_features, head.bias is not None) for _ in range(2))
        self.added, self.removed = make
        self.removed.load_state_dict(self.added.state_dict())
        self.added.requires_grad_(False)
        self.removed.requires_grad_(False)
        self.is_injected = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; the bracket is exactly 0 as long as a and b are equal."""
        logits: Tensor = self.head(x)
        return logits + (self.added(x) - self.removed(x.detach())) if self.is_injected else logits


@dataclass(kw_only=True)
class PlasticityInjection(Method):
    """f = h [frozen] + a [trained] - b [frozen], a = b at first (Nikishin et al. 2023, arXiv 2305.15555).

    Injected before every `every`-th stage, into the output layer alone, which must be linear. Nothing changes
    at the injection, and as much is trained as before. Earlier heads are folded, h <- h + a - b, which is
    exact but for rounding, so memory does not grow. What the paper injects into a deeper head is not done.

    Cost: two more forward passes and one more backward pass of the head.
    """

    every: int = setting(1, within=(1, None))
    """Stages between two injections."""

    def build(self, task: Task) -> nn.Module:
        """Return the model with room for the injected heads."""
        model = task.model()
        name = _head_name(model, task)
        parent, _, attribute = name.rpartition(".")
        head: Any = model.get_submodule(name)
        setattr(model.get_submodule(parent), attribute, InjectedHead(head))
        return model

    def before_stage(self, learner: Learner) -> None:
        """Fold the heads and inject a new pair."""
        if learner.stage.index % self.every:
            return
        heads, fresh = (_injected(model) for model in (learner.model, learner.fresh_model()))
        parts = zip(*(part.parameters() for part in (heads.head, heads.added, heads.removed)), strict=True)
        for (head, added, removed), new in zip(parts, fresh.added.parameters(), strict=True):
            head.add_(added - removed)
            added.copy_(new)
            removed.copy_(new)
        heads.is_injected = True
        heads.head.requires_grad_(False)
        heads.added.requires_grad_(True)
        learner.reset_optimizer_state(heads.added.parameters())

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the output layer is not linear."""
        model = task.model()
        head = model.get_submodule(_head_name(model, task))
        return None if type(head) is nn.Linear else f"the output layer is a {type(head).__name__}, not linear"


def _head_name(model: nn.Module, task: Task) -> str:
    if task.architecture.head is not None or not isinstance(task, ClassificationTask):
        return task.architecture.head or ""
    return find_head(model, task.input_shape())


def _injected(model: nn.Module) -> Any:  # noqa: ANN401
    return next(module for module in model.modules() if isinstance(module, InjectedHead))

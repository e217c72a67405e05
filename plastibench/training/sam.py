"""Sharpness-aware minimization around any optimizer of torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class SAM(Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021, arXiv 2010.01412, equation 2).

    A step moves the weights to w + e with e = rho * g / ||g||_2, takes the gradient there, moves
    back, and lets the inner optimizer step with it. The adaptive form (Kwon et al. 2021, arXiv
    2102.11600, equation 6) has e = rho * |w|^2 * g / || |w| * g ||_2.
    """

    def __init__(self, inner: Optimizer, rho: float, adaptive: bool) -> None:
        self.inner = inner
        self.rho = rho
        self.adaptive = adaptive
        super().__init__(inner.param_groups, inner.defaults)

    # Groups and state are the inner optimizer's: what is changed here is changed there.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of the inner optimizer."""
        return self.inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.inner.param_groups = groups

    @property
    def state(self) -> Any:  # noqa: ANN401 - torch's own type
        """Return the state of the inner optimizer."""
        return self.inner.state

    @state.setter
    def state(self, state: Any) -> None:  # noqa: ANN401 - torch's own type
        self.inner.state = state

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Take two forward-backward passes and one update; return the loss at the unmoved weights."""
        if closure is None:
            raise TypeError("SAM.step needs a closure: it takes the gradient twice")
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            original = [torch.empty_like(p) for p in weights]
            torch._foreach_copy_(original, weights)  # one operation, where each clone would be one
            torch._foreach_add_(weights, self._ascent(weights))
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            torch._foreach_copy_(weights, original)
        self.inner.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the inner optimizer, with what a method may have changed here."""
        return {**self.inner.state_dict(), "rho": self.rho, "adaptive": self.adaptive}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned."""
        self.rho = state_dict.get("rho", self.rho)
        self.adaptive = state_dict.get("adaptive", self.adaptive)
        self.inner.load_state_dict(state_dict)

    def _ascent(self, weights: list[Tensor]) -> list[Tensor]:
        gradients = [p.grad for p in weights if p.grad is not None]
        if self.adaptive:
            sizes = torch._foreach_abs(weights)
            gradients = list(torch._foreach_mul(gradients, sizes))
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        # The scale stays on the device: reading it would make the host wait at every step.
        scale = self.rho / (norm + 1e-12)
        if self.adaptive:
            gradients = list(torch._foreach_mul(gradients, sizes))
        return list(torch._foreach_mul(gradients, scale))

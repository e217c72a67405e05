"""Muon: momentum of each hidden weight matrix, orthogonalized; Adam for all other parameters."""

from collections.abc import Callable, Collection, Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.plugins.layers import weight_layers
from plastibench.plugins.recipe import Recipe

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, whose slope at 0 is large: singular values end between about 0.7 and 1.2."""
ITERATIONS = 5
ADAM_RATE, ADAM_BETAS, ADAM_EPSILON = 0.1, (0.9, 0.95), 1e-8
"""Adam's learning rate as a share of Muon's, and its other settings (Han et al. 2026, arXiv 2602.08040)."""


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return nearly U V^T of a matrix (rows, columns) = U S V^T, by Newton and Schulz's iteration."""
    a, b, c = COEFFICIENTS
    x: Tensor = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x = x / (torch.linalg.vector_norm(x) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


def hidden_matrices(recipe: Recipe, model: nn.Module, head_name: Callable[[], str]) -> set[Tensor]:
    """Return the weights of hidden layers if the recipe's optimizer tells them apart, else nothing.

    They are those of linear, convolutional, attention and recurrent layers, without the head's. Embeddings,
    biases, norms and parameters outside of layers are left out, and a weight that a layer shares with the
    head or with an embedding. Raises RequestError if the head is not known or a layer computes its weight.
    """
    if not recipe.tells_matrices_apart():
        return set()
    *layers, last = weight_layers(model, head=head_name())
    lookups = [layer for layer in layers if isinstance(layer, nn.Embedding | nn.EmbeddingBag)]
    others = {weight for layer in (*lookups, last) for weight in layer.parameters(recurse=False)}
    weights = (weight for layer in layers for weight in layer.parameters(recurse=False))
    return {weight for weight in weights if weight.dim() > 1 and weight not in others}


class Muon(Optimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon; in FIRE's comparison, arXiv 2602.08040).

    A weight of more than two dimensions is a matrix (out, in * height * width). With the gradient G,
    B <- momentum * B + G and W <- W - lr * sqrt(max(1, rows / columns)) * orthogonalize(G + momentum * B);
    decay is decoupled. Sums are those of float32, where published code has bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        *,
        lr: float | Tensor,
        momentum: float,
        weight_decay: float,
        matrices: Callable[[], Collection[Tensor]],
    ) -> None:
        """Train `parameters`; `matrices`, called at the first step, returns the hidden ones among them."""
        self._find_matrices = matrices
        self._matrices: Collection[Tensor] | None = None
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Update the parameters; return the loss of the closure."""
        if self._matrices is None:
            self._matrices, self._find_matrices = self._find_matrices(), tuple
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._update(weight, weight.grad, group, is_matrix=weight in self._matrices)
        return loss

    def _update(self, weight: Tensor, grad: Tensor, group: dict[str, Any], *, is_matrix: bool) -> None:
        lr, state = group["lr"], self.state[weight]
        if group["weight_decay"]:
            weight.mul_(1 - lr * group["weight_decay"])
        if is_matrix:
            weight.sub_(_orthogonal_momentum(grad, state, group["momentum"]) * lr)
        else:
            weight.sub_(_adam(grad, state) * (ADAM_RATE * lr))


def _orthogonal_momentum(grad: Tensor, state: dict[str, Tensor], momentum: float) -> Tensor:
    """Return the update of a matrix at rate 1."""
    buffer = state.setdefault("momentum_buffer", torch.zeros_like(grad))
    buffer.mul_(momentum).add_(grad)
    matrix = grad.add(buffer, alpha=momentum).flatten(1).float()
    scale = sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
    return (orthogonalize(matrix) * scale).view(grad.shape).to(grad.dtype)


def _adam(grad: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Return the update of any other parameter at rate 1.

    The number of updates is a tensor on the device, so that steps can be captured.
    """
    first, second = ADAM_BETAS
    if not state:
        state["updates"] = torch.zeros((), device=grad.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
    state["updates"] += 1
    mean = state["exp_avg"].lerp_(grad, 1 - first)
    square = state["exp_avg_sq"].mul_(second).addcmul_(grad, grad, value=1 - second)
    deviation = (square / (1 - second ** state["updates"])).sqrt() + ADAM_EPSILON
    return mean / (1 - first ** state["updates"]) / deviation

"""Muon: momentum of each hidden weight matrix, orthogonalized; Adam for all other parameters."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import sqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.plugins.layers import weight_layers
from plastibench.plugins.recipe import Recipe

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, whose slope at 0 is large: singular values end between about 0.7 and 1.2."""
ITERATIONS = 5
T = TypeVar("T")
Tensors = tuple[Tensor, ...]
ADAM_RATE, ADAM_BETAS, ADAM_EPSILON = 0.1, (0.9, 0.95), 1e-8
"""Adam's learning rate as a share of Muon's, and its other settings (Han et al. 2026, arXiv 2602.08040)."""


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return nearly U V^T of a matrix (rows, columns) = U S V^T, by Newton and Schulz's iteration."""
    return _orthogonalized([matrix])[0]


def _orthogonalized(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Orthogonalize matrices, with one operation for all of them wherever it is no product of matrices."""
    a, b, c = COEFFICIENTS
    is_tall = [len(matrix) > matrix.shape[1] for matrix in matrices]
    wide = [matrix.T if tall else matrix for matrix, tall in zip(matrices, is_tall, strict=True)]
    norms = torch._foreach_add(torch._foreach_norm(wide), 1e-7)
    xs = torch._foreach_div(wide, norms)
    for _ in range(ITERATIONS):
        squares = [x @ x.T for x in xs]
        fourths = [c_square @ square for c_square, square in _pairs(torch._foreach_mul(squares, c), squares)]
        polynomials = torch._foreach_add(torch._foreach_mul(squares, b), fourths)
        products = [polynomial @ x for polynomial, x in _pairs(polynomials, xs)]
        xs = torch._foreach_add(torch._foreach_mul(xs, a), products)
    return [x.T if tall else x for x, tall in zip(xs, is_tall, strict=True)]


def _pairs(some: Sequence[T], others: Sequence[Tensor]) -> Iterator[tuple[T, Tensor]]:
    return zip(some, others, strict=True)


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
                self._update(group, self._matrices)
        return loss

    def _update(self, group: dict[str, Any], matrices: Collection[Tensor]) -> None:
        lr, weights = group["lr"], [weight for weight in group["params"] if weight.grad is not None]
        if group["weight_decay"] and weights:
            torch._foreach_copy_(weights, torch._foreach_mul(weights, 1 - lr * group["weight_decay"]))
        hidden = [weight for weight in weights if weight in matrices]
        if hidden:
            updates = self._orthogonal_momenta(hidden, group["momentum"])
            _subtract(hidden, torch._foreach_mul(updates, lr))
        others = [weight for weight in weights if weight not in matrices]
        if others:
            _subtract(others, torch._foreach_mul(self._adam(others), ADAM_RATE * lr))

    def _orthogonal_momenta(self, weights: list[Tensor], momentum: float) -> list[Tensor]:
        """Return the updates of matrices at rate 1."""
        grads = [weight.grad for weight in weights if weight.grad is not None]
        states = [self.state[weight] for weight in weights]
        for state, grad in _pairs(states, grads):
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(grad)
        buffers = [state["momentum_buffer"] for state in states]
        torch._foreach_copy_(buffers, torch._foreach_add(torch._foreach_mul(buffers, momentum), grads))
        moved = torch._foreach_add(grads, buffers, alpha=momentum)
        updates = _orthogonalized([matrix.flatten(1).float() for matrix in moved])
        scales = [sqrt(max(1.0, update.shape[0] / update.shape[1])) for update in updates]
        scaled = torch._foreach_mul(updates, scales)
        return [update.view(grad.shape).to(grad.dtype) for update, grad in _pairs(scaled, grads)]

    def _adam(self, weights: list[Tensor]) -> Tensors:
        """Return the updates of all other parameters at rate 1.

        The number of updates is a tensor on the device, so that steps can be captured.
        """
        first, second = ADAM_BETAS
        grads = [weight.grad for weight in weights if weight.grad is not None]
        states = [self.state[weight] for weight in weights]
        for state, grad in _pairs(states, grads):
            if not state:
                state["updates"] = torch.zeros((), device=grad.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
        updates, means, squares = (
            [state[name] for state in states] for name in ("updates", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_copy_(updates, torch._foreach_add(updates, 1))
        torch._foreach_copy_(means, torch._foreach_lerp(means, grads, 1 - first))
        decayed = torch._foreach_mul(squares, second)
        torch._foreach_copy_(squares, torch._foreach_addcmul(decayed, grads, grads, 1 - second))
        roots = torch._foreach_sqrt(torch._foreach_div(squares, _one_minus_power(second, updates)))
        deviations = torch._foreach_add(roots, ADAM_EPSILON)
        return torch._foreach_div(torch._foreach_div(means, _one_minus_power(first, updates)), deviations)


def _subtract(weights: list[Tensor], updates: Tensors) -> None:
    # Not in place: an operation that returns nothing would be left out of the FLOPs of an update.
    torch._foreach_copy_(weights, torch._foreach_sub(weights, updates))


def _one_minus_power(base: float, exponents: list[Tensor]) -> Tensors:
    differences = torch._foreach_sub(torch._foreach_pow(base, exponents), 1)
    torch._foreach_neg_(differences)
    return differences

"""What a method adds to the loss of a step, checked."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from torch import Tensor

from plastibench.errors import RequestError

if TYPE_CHECKING:
    from plastibench.plugins.method import Method
    from plastibench.training.learner import Learner


def call_loss_term(method: Method, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
    """Call `loss_term`. Raises RequestError if what it returns is not a number, or a tensor with one."""
    term: object = method.loss_term(learner, logits, y)
    if isinstance(term, Tensor):
        if term.numel() == 1:
            return term
        returned = f"a tensor of shape {tuple(term.shape)}"
    elif isinstance(term, Real):
        return float(term)
    else:
        returned = "nothing" if term is None else f"a {type(term).__name__}"
    raise RequestError(
        f"loss_term of {type(method).__name__} returns {returned}: return a number, or a tensor with one, "
        "which is added to the mean loss of the batch"
    )

"""Label smoothing: train toward labels that leave some probability for every class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class LabelSmoothing(Method):
    """loss of labels (1 - epsilon) * onehot(y) + epsilon / classes (Szegedy et al. 2016, arXiv 1512.00567).

    Added to the task's loss is the difference between the smoothed cross-entropy and the plain one, so that
    the reported training loss is the plain one. The smoothed loss has a minimum above 0; rules that end a
    stage by its training accuracy are not affected.

    Cost: some element-wise operations on the logits; no memory.
    """

    epsilon: float = tune(0.1, 0.01, 0.3, log=True, within=(0.0, 1.0))
    """Share of the label that is spread evenly over all classes."""

    capturable: ClassVar[bool] = True
    disabled: ClassVar[Mapping[str, Any]] = {"epsilon": 0.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"szegedy_2016": {"epsilon": 0.1}}

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor:
        """Return the smoothed cross-entropy minus the plain one."""
        log_p = log_softmax(logits.float(), 1)
        of_label = log_p.gather(1, y.unsqueeze(1)).squeeze(1)
        return self.epsilon * (of_label - log_p.mean(1)).mean()

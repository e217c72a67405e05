"""Normalize and project: keep the norm of every weight matrix at that of its initial weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from plastibench.api import Learner, Method, Task, norm_layers, parameters_in, tune, weight_layers


@dataclass(kw_only=True)
class NormalizeProject(Method):
    """W <- radius * ||W0|| / ||W|| * W (Lyle et al. 2024, arXiv 2407.01800).

    With weights of constant norm behind normalization, the effective learning rate is the one of the recipe.
    The paper projects after every step; period=stage projects before every later stage, the plainest test of
    the view that remedies which shrink weights are learning rates. The weight and bias of a normalization
    are rescaled together to their initial norm, the square root of the width (gains=rescale). A matrix that
    starts at zero stays free.

    The paper also puts a normalization before every nonlinearity, which is the model's to have, and removes
    the biases before them, which have no effect. Its learning rate needs tuning of its own. Other code
    rescales the gains to the square root of 2, whatever the width.

    Cost: some element-wise operations a step; no memory.
    """

    radius: float = tune(1.0, 0.3, 3.0, log=True, within=(1e-6, None))
    """Norm of each matrix as a multiple of the initial one."""
    period: Literal["step", "stage"] = "step"
    """After every step, or before every later stage."""
    gains: Literal["rescale", "free"] = "rescale"
    """What happens to the weights and biases of normalization."""
    project_head: bool = False
    """Whether to project the output layer, too."""
    parameters: list[Tensor] = field(default_factory=list, init=False)
    group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long), init=False)
    """The index of each parameter's group, whose joint norm is kept."""
    norms: Tensor = field(default_factory=lambda: torch.zeros(0), init=False)
    """The norm of each group."""

    capturable = True

    def start(self, learner: Learner) -> None:
        """Measure the initial norms."""
        groups = [[matrix] for matrix in self._matrices(learner)]
        num_matrices = len(groups)
        if self.gains == "rescale":
            own = (norm.parameters(recurse=False) for norm in norm_layers(learner.model))
            trained = ([p for p in parameters if p.requires_grad] for parameters in own)
            groups += [group for group in trained if group]
        sizes = [torch.cat([p.flatten() for p in group]).norm() for group in groups]
        self.parameters = [p for group in groups for p in group]
        lengths = torch.tensor([len(group) for group in groups])
        device = learner.device.torch_device
        self.group = torch.repeat_interleave(torch.arange(len(groups)), lengths).to(device)
        factors = [self.radius if i < num_matrices else 1.0 for i in range(len(groups))]
        self.norms = torch.stack([size * factor for size, factor in zip(sizes, factors, strict=True)])

    def before_stage(self, learner: Learner) -> None:
        """Project once."""
        if self.period == "stage":
            self._project()

    def after_step(self, learner: Learner) -> None:
        """Project after the step."""
        if self.period == "step":
            self._project()

    def unsupported(self, task: Task) -> str | None:
        """Return the reason if the model has no normalization."""
        if norm_layers(self.build(task)):
            return None
        return "no layer of the model is a normalization, without which projecting changes what it computes"

    def _project(self) -> None:
        squares = torch.stack(torch._foreach_norm(self.parameters)).square()
        joint = torch.zeros_like(self.norms).index_add(0, self.group, squares).sqrt()
        factors = self.norms / joint.clamp_min(torch.finfo(joint.dtype).tiny)
        factors = factors.where(self.norms > 0, 1.0)  # what begins at zero has no norm to return to
        scales: list[Tensor] = list(factors.index_select(0, self.group))
        torch._foreach_mul_(self.parameters, scales)

    def _matrices(self, learner: Learner) -> list[Parameter]:
        matrices = [p for p in parameters_in(learner.model, "layers") if p.dim() > 1]
        if self.project_head:
            return matrices
        head = weight_layers(learner.model, head=learner.head_name())[-1]
        own = set(head.parameters(recurse=False))
        return [p for p in matrices if p not in own]

"""Ranks of the features that the head reads: srank, stable rank, effective rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from plastibench.api import (
    ClassificationTask,
    Learner,
    Probe,
    Task,
    find_head,
    measuring_model,
    sample_examples,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class FeatureRank(Probe):
    """Three ranks of the features H (n, d), the input of the head, by the singular values s_1 >= s_2 >= ...

    - `srank`: the smallest r with s_1 + ... + s_r >= 0.99 sum s (Kumar et al. 2021, arXiv 2010.14498);
      the code of several papers calls it stable rank.
    - `stable_rank`: ||H||_F^2 / ||H||_2^2 = sum s^2 / s_1^2, at most the rank and hardly moved by noise.
    - `effective_rank`: exp(entropy of s / sum s) (Roy & Vetterli 2007), of features whose mean over the
      examples is subtracted; the other two are of the features as they are.

    None can exceed the number of examples. Features of more dimensions count as one long vector.
    """

    examples: int = setting(1024, within=(2, None))
    """Training examples of the stage, drawn at random."""

    units: ClassVar[Mapping[str, str]] = {
        "srank": "dimensions",
        "stable_rank": "dimensions",
        "effective_rank": "dimensions",
    }

    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return the three ranks."""
        features = self._features(learner)
        singular, centered = (torch.linalg.svdvals(h) for h in (features, features - features.mean(0)))
        return {
            "srank": _srank(singular),
            "stable_rank": float(singular.square().sum() / singular[0].square()),
            "effective_rank": _effective_rank(centered),
        }

    def unsupported(self, task: Task) -> str | None:
        """Return None. Raises RequestError if it is not known which layer is the head."""
        if task.architecture.head is None and isinstance(task, ClassificationTask):
            find_head(task.model(), task.input_shape())
        return None

    def _features(self, learner: Learner) -> Tensor:
        head = learner.head
        measuring_model(learner)
        found: list[Tensor] = []

        def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> None:
            features = (args or tuple(kwargs.values()))[0]
            if not features.is_meta:  # FLOPs are counted on a copy without data
                found.append(features.flatten(1))

        head.register_forward_pre_hook(keep, with_kwargs=True)
        data = sample_examples(learner.stage.train, self.examples, learner.generator)
        for x, _ in data.batches(learner.task.recipe.test_batch_size):
            learner.forward(learner.model, x)
        return torch.cat(found).float().cpu()  # svdvals exists on every device, but not with the same bits


def _srank(singular: Tensor, share: float = 0.99) -> float:
    return float((singular.double().cumsum(0) < share * singular.double().sum()).sum() + 1)


def _effective_rank(singular: Tensor) -> float:
    p = singular / singular.sum()
    return float(torch.special.entr(p).sum().exp())

"""Which trials end early: two rules, the same for every method, that compare with the published settings.

The trial of the published settings is never pruned: it is what every other trial is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import TYPE_CHECKING, Any

from plastibench.tuning.trials import published_trial

if TYPE_CHECKING:
    import optuna

RULES = "beside the published settings"
"""Name of the rules among the terms of a study: one that was made with others cannot go on with these."""
LIMITS = ("max_epochs", "max_steps")
"""Stop reasons of a stage that did not reach its target."""
LEARNED = 0.5
"""A stage at a limit has lost the ability to learn below this share of the published training accuracy."""
SIGNIFICANCE = 0.02
"""Of the sign test: six worse stages in a row are enough, and 6 % of equal trials of 30 stages are pruned."""
SCORES = "stages"
"""The user attribute of a trial that holds its scores."""


@dataclass(frozen=True)
class StageScore:
    """What pruning needs to know of one stage of a trial."""

    step: int
    """The stage, counted over all runs of the trial."""
    stage: int
    """The stage of its run, from 0."""
    value: float
    """The first objective, of this stage alone."""
    reached: float
    """The first objective, of the trial up to this stage."""
    train_accuracy: float
    stop: str
    """Why training ended."""


@dataclass(frozen=True)
class Pruned:
    """Why a trial is pruned."""

    rule: str
    """limit or behind."""
    reason: str


def published_scores(study: optuna.Study) -> dict[int, StageScore]:
    """Return the scores of the published settings by step; none as long as their trial is not finished."""
    trial = published_trial(study)
    scores = [] if trial is None else trial.user_attrs.get(SCORES, [])
    return {score["step"]: StageScore(**score) for score in scores}


def as_attribute(scores: Sequence[StageScore]) -> list[dict[str, Any]]:
    """Return scores as the user attribute of a trial."""
    return [asdict(score) for score in scores]


def check_limit(last: StageScore, published: Mapping[int, StageScore]) -> Pruned | None:
    """Return whether the last stage shows that the model has lost the ability to learn.

    It ended at a limit with less than half of the training accuracy that the published settings reach at the
    same stage, so a limit that every setting runs into prunes nothing.
    """
    other = published.get(last.step)
    if last.stop not in LIMITS or other is None or last.train_accuracy >= LEARNED * other.train_accuracy:
        return None
    reached, usual = (100 * score.train_accuracy for score in (last, other))
    return Pruned(
        "limit",
        f"stage {last.stage + 1} ended at {last.stop} with {reached:.1f} % training accuracy "
        f"(published settings: {usual:.1f} %)",
    )


def describe_published(scores: Sequence[StageScore], target: float | None) -> str:
    """Return how many stages of the published settings fail to learn; an empty text if none does."""
    failing = [s for s in scores if s.stop in LIMITS and s.train_accuracy < LEARNED * (target or 0.0)]
    if not failing:
        return ""
    return (
        f"warning: {len(failing)} of {len(scores)} stages of the published settings end at "
        f"{failing[0].stop} with less than half of the target training accuracy"
    )


def check_behind(
    scores: Sequence[StageScore], published: Mapping[int, StageScore], sign: int
) -> Pruned | None:
    """Return whether a trial has been worse than the published settings too often to be chance.

    An exact sign test over its stages, each beside the same stage of the same seed; ties do not count. The
    objective so far must be worse, too: a single stage can outweigh many. `sign` is 1 if larger values are
    better, else -1.
    """
    last, other = scores[-1], published.get(scores[-1].step)
    if other is None or sign * (last.reached - other.reached) >= 0:
        return None
    pairs = [(score.value, published[score.step].value) for score in scores if score.step in published]
    worse, decided = sum(sign * (a - b) < 0 for a, b in pairs), sum(a != b for a, b in pairs)
    if sum(comb(decided, k) for k in range(worse, decided + 1)) > SIGNIFICANCE * 2**decided:
        return None
    return Pruned("behind", f"worse than the published settings in {worse} of {decided} stages")

"""The discrete feature-learning framework: which features are learned, and which points are memorized."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Initialization(Enum):
    """What a stage keeps of what the stages before have learned: features, and memorized points."""

    COLD = (False, False)
    WARM = (True, True)
    IDEAL = (True, False)

    @property
    def label(self) -> str:
        """Return the name in tables and figures."""
        return self.name.lower()

    @property
    def keeps_features(self) -> bool:
        """Return whether features that were learned stay learned."""
        return self.value[0]

    @property
    def keeps_memorized(self) -> bool:
        """Return whether points that were memorized have no gradient any more."""
        return self.value[1]


@dataclass(frozen=True)
class Course:
    """What happens in each stage."""

    learned: NDArray[np.bool_]
    """Features that are learned at the end, shape (stages, classes, features)."""
    active: NDArray[np.int64]
    """Points that have a gradient at the start, shape (stages,): the training time of the stage."""


def train(
    points: NDArray[np.uint8],
    ends: Sequence[int],
    initialization: Initialization,
    *,
    gamma: int,
    tau: int,
) -> Course:
    """Learn the features of points that arrive in stages (DASH, arXiv 2410.23495, section 4).

    `points`, shape (classes, points, features), is 1 where a point has a feature of its class. `ends` holds
    how many points of each class have arrived by each stage. A point has no gradient once `tau` of its
    features are learned. The most frequent feature among points with a gradient, the first one of equals, is
    learned if `gamma` of them have it; if it is rarer, the points that are left are memorized.
    """
    courses = [_train_class(each, ends, initialization, gamma, tau) for each in points]
    return Course(
        learned=np.stack([learned for learned, _ in courses], axis=1),
        active=np.sum([active for _, active in courses], axis=0),
    )


def _train_class(
    points: NDArray[np.uint8], ends: Sequence[int], initialization: Initialization, gamma: int, tau: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Train on one class. Another class cannot change the result: its points have none of these features."""
    rows, columns = points.astype(np.float32), np.ascontiguousarray(points.T)
    learned = np.zeros(points.shape[1], dtype=np.bool_)
    history, active = [], []
    for stage, end in enumerate(ends):
        # Warm: every earlier point was learned or memorized at the end of the stage before.
        start = ends[stage - 1] if initialization.keeps_memorized and stage > 0 else 0
        if not initialization.keeps_features:
            learned = np.zeros_like(learned)
        learned, at_start = _learn(rows[start:end], columns[:, start:end], learned, gamma, tau)
        history.append(learned)
        active.append(at_start)
    return np.stack(history), np.array(active)


def _learn(
    rows: NDArray[np.float32],
    columns: NDArray[np.uint8],
    learned: NDArray[np.bool_],
    gamma: int,
    tau: int,
) -> tuple[NDArray[np.bool_], int]:
    """Train for one stage on points (n, features), also given as (features, n).

    Return the learned features, and the number of points that had a gradient at the start.
    """
    learned = learned.copy()
    hits = columns[learned].sum(axis=0, dtype=np.int32)
    active = hits < tau
    at_start = int(active.sum())
    counts = active.astype(np.float32) @ rows  # whole numbers, which float32 holds up to 2**24
    while True:
        unlearned = np.where(learned, -1.0, counts)
        best = int(unlearned.argmax())
        if unlearned[best] < gamma:
            return learned, at_start
        learned[best] = True
        hits += columns[best]
        done = np.flatnonzero(active & (hits >= tau))
        active[done] = False
        counts -= rows[done].sum(axis=0)

"""The feature-learning framework: against a plain transcription, and the theorems as properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from plastibench.theory.framework import Course, Initialization, train

COLD, WARM, IDEAL = Initialization.COLD, Initialization.WARM, Initialization.IDEAL
BITS = st.integers(0, 1)
POINTS = st.tuples(st.integers(1, 2), st.integers(4, 14), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=BITS)
)
"""Points of shape (classes, points, features)."""
GAMMA, TAU, STAGES = st.integers(1, 8), st.integers(1, 3), st.integers(2, 4)


def plainly(
    points: NDArray[np.uint8], ends: Sequence[int], start: Initialization, gamma: int, tau: int
) -> tuple[list[set[tuple[int, int]]], list[int]]:
    """Return the learned features and the number of points with a gradient of each stage, as defined."""
    learned: set[tuple[int, int]] = set()
    memorized: set[tuple[int, int]] = set()
    history, sizes = [], []
    for end in ends:
        learned = set(learned) if start in (WARM, IDEAL) else set()
        memorized = memorized if start is WARM else set()
        arrived = [(c, i) for c in range(len(points)) for i in range(end)]
        views = {(c, i): {(c, int(v)) for v in np.flatnonzero(points[c, i])} for c, i in arrived}
        left = [x for x in arrived if len(views[x] & learned) < tau and x not in memorized]
        sizes.append(len(left))
        while True:
            features = [(c, v) for c in range(len(points)) for v in range(points.shape[2])]
            frequency = {v: sum(v in views[x] for x in left) for v in features if v not in learned}
            best = max(frequency, key=lambda v: (frequency[v], -v[0], -v[1]), default=None)
            if best is None or frequency[best] < gamma:
                break
            learned.add(best)
            left = [x for x in left if len(views[x] & learned) < tau]
        memorized = memorized | set(left)
        history.append(learned)
    return history, sizes


@settings(deadline=None, max_examples=60)
@given(POINTS, GAMMA, TAU, st.sampled_from(Initialization), st.data())
def test_training_is_what_the_paper_defines(
    points: NDArray[np.uint8], gamma: int, tau: int, start: Initialization, data: st.DataObject
) -> None:
    ends = sorted(data.draw(st.sets(st.integers(1, points.shape[1]), min_size=1, max_size=4)))
    course = train(points, ends, start, gamma=gamma, tau=tau)
    learned, sizes = plainly(points, ends, start, gamma, tau)
    assert [{tuple(map(int, v)) for v in np.argwhere(each)} for each in course.learned] == learned
    assert course.active.tolist() == sizes


def courses(chunk: NDArray[np.uint8], stages: int, gamma: int, tau: int) -> dict[Initialization, Course]:
    """Train on chunks that have the same points, as the theorems assume (3.1)."""
    points = np.concatenate([chunk] * stages, axis=1)
    ends = [chunk.shape[1] * (stage + 1) for stage in range(stages)]
    return {start: train(points, ends, start, gamma=gamma, tau=tau) for start in Initialization}


def unclassified(chunk: NDArray[np.uint8], learned: NDArray[np.bool_], tau: int) -> NDArray[np.bool_]:
    """Return which points of a chunk are not classified, shape (classes, points)."""
    unknown: NDArray[np.bool_] = np.einsum("cpf,cf->cp", chunk.astype(int), learned.astype(int)) < tau
    return unknown


@settings(deadline=None, max_examples=100)
@given(POINTS, STAGES, GAMMA, TAU)
def test_warm_start_learns_no_more_than_cold_start_and_takes_less_time(
    chunk: NDArray[np.uint8], stages: int, gamma: int, tau: int
) -> None:
    """Theorem 3.4: warm start learns in the first stage only."""
    found = courses(chunk, stages, gamma, tau)
    cold, warm = found[COLD], found[WARM]
    size = chunk.shape[0] * chunk.shape[1]
    assert not (warm.learned & ~cold.learned).any()
    assert all((each == cold.learned[0]).all() for each in warm.learned)
    assert cold.active.sum() == size * stages * (stages + 1) / 2
    assert warm.active.sum() <= size * stages < cold.active.sum()


@settings(deadline=None, max_examples=100)
@given(POINTS, STAGES, GAMMA, TAU)
def test_ideal_start_learns_what_cold_start_learns_in_less_time(
    chunk: NDArray[np.uint8], stages: int, gamma: int, tau: int
) -> None:
    """Theorem 3.6; the time is equal only if no point is classified before the last stage."""
    found = courses(chunk, stages, gamma, tau)
    cold, ideal = found[COLD], found[IDEAL]
    assert (ideal.learned == cold.learned).all()
    some_classified = not unclassified(chunk, cold.learned[-2], tau).all()
    assert (ideal.active.sum() < cold.active.sum()) == some_classified
    assert ideal.active.sum() <= cold.active.sum()


@settings(deadline=None, max_examples=60)
@given(POINTS, st.integers(2, 8), TAU)
def test_the_gap_is_strict_once_enough_chunks_share_an_unlearned_feature(
    chunk: NDArray[np.uint8], gamma: int, tau: int
) -> None:
    """Theorem 3.4's last part: J > gamma / (delta n), delta n points of a chunk sharing the feature."""
    first = courses(chunk, 1, gamma, tau)[COLD].learned[0]
    left = unclassified(chunk, first, tau)
    counts = np.einsum("cp,cpf->cf", left.astype(int), chunk.astype(int))
    shared = int(np.where(first, 0, counts).max())
    stages = gamma // shared + 1 if shared else 4
    learned = courses(chunk, stages, gamma, tau)[COLD].learned[-1]
    assert (learned.sum() > first.sum()) == (shared > 0)

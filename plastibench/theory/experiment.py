"""The experiment of the DASH paper's figure 3: random features, several stages, several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plastibench.errors import RequestError
from plastibench.plugins.fields import Settings, setting
from plastibench.theory.framework import Initialization, train


@dataclass(frozen=True, kw_only=True)
class FeatureLearning(Settings):
    """Settings of the experiment; the defaults are those of the paper and of its notebook."""

    classes: int = setting(2, within=(2, None))
    """Classes, with equally many points each."""
    features: int = setting(50, within=(1, None))
    """Features of each class."""
    max_frequency: float = setting(0.2, within=(0.0, 1.0))
    """The share of points that have a feature is drawn uniformly up to this."""
    stages: int = setting(50, within=(1, None))
    chunk_size: int = setting(1000, within=(2, None))
    """Points of all classes that arrive with each stage."""
    gamma: int = setting(50, within=(1, None))
    """Points with a gradient that must have a feature for it to be learned; it stands for the noise."""
    tau: int = setting(3, within=(1, None))
    """Learned features that a point must have to be classified; it stands for how complex the data are."""
    test_size: int = setting(10_000, within=(2, None))
    """Test points of all classes."""

    def __post_init__(self) -> None:
        """Raise RequestError for numbers of points that cannot be split evenly over the classes."""
        super().__post_init__()
        for name in ("chunk_size", "test_size"):
            if getattr(self, name) % self.classes:
                raise RequestError(
                    f"{name}={getattr(self, name)} is not allowed: classes have equally many points, so it "
                    f"must be a multiple of classes={self.classes}"
                )

    def ends(self) -> list[int]:
        """Return how many points of each class have arrived by each stage."""
        return [self.chunk_size // self.classes * (stage + 1) for stage in range(self.stages)]


@dataclass(frozen=True)
class Curves:
    """Results of one initialization, each of shape (seeds, stages)."""

    accuracy: NDArray[np.float64]
    """Expected test accuracy in percent: a point that is not classified is guessed."""
    features: NDArray[np.int64]
    """Features of all classes that are learned at the end of the stage."""
    active: NDArray[np.int64]
    """Points that have a gradient at the start of the stage."""

    @property
    def training_time(self) -> NDArray[np.int64]:
        """Return the points with a gradient, summed over the stages, shape (seeds,)."""
        total: NDArray[np.int64] = self.active.sum(axis=1)
        return total


def simulate(
    settings: FeatureLearning, seeds: Sequence[int] = tuple(range(10))
) -> dict[Initialization, Curves]:
    """Return the curves of each initialization, paired by seed.

    The same seed gives the points of the paper's notebook: numpy's legacy generator, in its order of draws.
    """
    of_seeds = [_simulate_seed(settings, seed) for seed in seeds]
    return {
        start: Curves(*(np.stack(parts) for parts in zip(*(each[start] for each in of_seeds), strict=True)))
        for start in Initialization
    }


def _simulate_seed(
    settings: FeatureLearning, seed: int
) -> Mapping[Initialization, tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
    points, frequencies = _train_points(settings, seed)
    test = _test_points(settings, frequencies)
    found = {}
    for start in Initialization:
        course = train(points, settings.ends(), start, gamma=settings.gamma, tau=settings.tau)
        accuracy = expected_accuracy(test, course.learned, settings.tau)
        found[start] = accuracy, course.learned.sum(axis=(1, 2)), course.active
    return found


def _train_points(
    settings: FeatureLearning, seed: int
) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]]]:
    """Draw the points (classes, points, features) and the frequencies of each class's features."""
    random = np.random.RandomState(seed)
    points, frequencies = [], []
    for _ in range(settings.classes):
        frequencies.append(np.sort(settings.max_frequency * random.rand(settings.features))[::-1])
        points.append(_draw(random, frequencies[-1], settings.ends()[-1]))
    return np.stack(points), frequencies


def _test_points(settings: FeatureLearning, frequencies: Sequence[NDArray[np.float64]]) -> NDArray[np.uint8]:
    """Draw test points (classes, points, features).

    As in the notebook, their generator's seed depends on the number of classes and not on the run's seed.
    """
    random = np.random.RandomState(100 * settings.classes + 100)
    return np.stack([_draw(random, each, settings.test_size // settings.classes) for each in frequencies])


def _draw(random: np.random.RandomState, frequencies: NDArray[np.float64], count: int) -> NDArray[np.uint8]:
    return random.binomial(1, frequencies, size=(count, len(frequencies))).astype(np.uint8)


def expected_accuracy(points: NDArray[np.uint8], learned: NDArray[np.bool_], tau: int) -> NDArray[np.float64]:
    """Return the expected accuracy in percent for each stage, shape (stages,).

    `points` has shape (classes, points, features), `learned` (stages, classes, features). A point is
    classified if `tau` of its features are learned, and otherwise guessed: correct with probability
    1 / classes.
    """
    hits = np.einsum("cpf,scf->scp", points, learned, dtype=np.float32, optimize=True)
    classified = (hits >= tau).mean(axis=(1, 2))
    accuracy: NDArray[np.float64] = 100 * (classified + (1 - classified) / len(points))
    return accuracy

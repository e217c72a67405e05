"""Regimes that change labels: what a stage is told about its examples."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor

from plastibench.plugins.regime import Regime
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.buffer import Buffer
from plastibench.plugins.regimes.class_incremental import ClassIncremental
from plastibench.plugins.regimes.discard import Discard
from plastibench.plugins.regimes.increments import Increments
from plastibench.plugins.regimes.label_noise import LabelNoise
from plastibench.plugins.regimes.permuted_labels import PermutedLabels
from plastibench.plugins.regimes.random_labels import RandomLabels
from plastibench.plugins.regimes.repaired_labels import RepairedLabels
from plastibench.plugins.regimes.repeat import Repeat
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage
from plastibench.testing.run_trace import data_context


def stages(registry: Registry, regime: Regime, seed: int = 0, **settings: Any) -> list[Stage]:
    settings = {"stages": None, "train_size": 1000, **settings}
    return list(small_digits(registry, regime=regime, **settings).stream(seed, data_context()))


def train_labels(registry: Registry, regime: Regime, **settings: Any) -> list[Tensor]:
    return [stage.train.labels() for stage in stages(registry, regime, **settings)]


def wrong(registry: Registry, regime: Regime, true: Regime, **settings: Any) -> list[Tensor]:
    """Return for each stage which labels are wrong."""
    pairs = zip(
        train_labels(registry, regime, **settings), train_labels(registry, true, **settings), strict=True
    )
    return [given != right for given, right in pairs]


def test_the_published_schedule_gives_each_chunk_its_share_of_wrong_labels(registry: Registry) -> None:
    found = wrong(registry, LabelNoise(), Accumulate(), stages=10)
    last = found[-1].view(10, 100).sum(1).tolist()
    assert last == [50, 40, 40, 30, 30, 20, 20, 10, 10, 0]
    for stage, each in enumerate(found):  # what is wrong once is wrong as long as it is kept
        assert torch.equal(each, found[-1][: 100 * (stage + 1)])


def test_a_wrong_label_stays_the_same_and_is_any_other_class(registry: Registry) -> None:
    given = train_labels(registry, LabelNoise(noise=(1.0,)), stages=2)
    true = train_labels(registry, Accumulate(), stages=2)
    assert torch.equal(given[0], given[1][:500])
    shifts = torch.bincount((given[1] - true[1]) % 10, minlength=10)
    assert shifts[0] == 0
    assert shifts[1:].min() > 70  # of 1000 over nine classes


def test_noise_follows_the_examples_into_a_buffer(registry: Registry) -> None:
    buffered = train_labels(registry, LabelNoise(base=Buffer(buffer=250), noise=(0.5,)), stages=5)
    kept = train_labels(registry, LabelNoise(noise=(0.5,)), stages=5)
    assert torch.equal(buffered[-1], kept[-1][-250:])


def test_the_published_noisy_warm_start_is_two_regimes(registry: Registry) -> None:
    regime = LabelNoise(base=Increments(increments=(9.0,)), noise=(0.5, 0.0))
    first, last = wrong(registry, regime, Increments(increments=(9.0,)))
    assert (int(first.sum()), len(first)) == (50, 100)
    assert (int(last.sum()), len(last)) == (50, 1000)


def test_held_out_labels_stay_right(registry: Registry) -> None:
    noisy = stages(registry, LabelNoise(noise=(0.5,)), stages=2, validation=0.2)
    plain = stages(registry, Accumulate(), stages=2, validation=0.2)
    for one, other in zip(noisy, plain, strict=True):
        for part in ("validation", "test"):
            assert torch.equal(getattr(one, part).labels(), getattr(other, part).labels())


def test_noise_is_of_the_seed_alone(registry: Registry) -> None:
    one, same, other = (
        wrong(registry, LabelNoise(noise=(0.3,)), Accumulate(), stages=2, seed=seed)[-1] for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("after", [1, 2])
def test_repaired_labels_are_right_some_stages_after_their_arrival(registry: Registry, after: int) -> None:
    regime = RepairedLabels(base=LabelNoise(noise=(0.5,)), repaired_after=after)
    found = wrong(registry, regime, Accumulate(), stages=5)
    noisy = wrong(registry, LabelNoise(noise=(0.5,)), Accumulate(), stages=5)
    for stage, each in enumerate(found):
        old = max(0, stage + 1 - after) * 200
        assert not each[:old].any()
        assert torch.equal(each[old:], noisy[stage][old:])
        assert int(each.sum()) == min(stage + 1, after) * 100


def test_random_labels_are_others_in_every_stage_and_are_tested_on(registry: Registry) -> None:
    all_stages = stages(registry, RandomLabels(), stages=3, validation=0.1)
    images = [stage.train for stage in all_stages]
    labels = [data.labels() for data in images]
    assert all(data.x is not None and torch.equal(data.x, images[0].x) for data in images)  # type: ignore[attr-defined]
    for one, other in pairwise(labels):
        assert float((one == other).float().mean()) == pytest.approx(0.1, abs=0.05)
    for stage in all_stages:
        assert stage.test is stage.validation is stage.train


def test_random_labels_under_noise_are_noisy_in_training_only(registry: Registry) -> None:
    (stage,) = stages(registry, LabelNoise(base=RandomLabels(), noise=(0.2,)), stages=2, max_stages=1)
    assert stage.test is not None
    assert int((stage.train.labels() != stage.test.labels()).sum()) == 200


@pytest.mark.parametrize("base", [Discard(), Repeat()])
def test_permuted_labels_are_a_bijection_that_tests_share(registry: Registry, base: Regime) -> None:
    permuted = stages(registry, PermutedLabels(base=base), stages=3, validation=0.2)
    plain = stages(registry, base, stages=3, validation=0.2)
    maps = []
    for one, other in zip(permuted, plain, strict=True):
        parts = ("train", "validation", "test")
        old, new = (torch.cat([getattr(each, part).labels() for part in parts]) for each in (other, one))
        found = sorted(set(zip(old.tolist(), new.tolist(), strict=True)))
        assert [before for before, _ in found] == list(range(10))
        assert sorted(after for _, after in found) == list(range(10))
        maps.append([after for _, after in found])
    assert maps[0] != maps[1] != maps[2] != maps[0]


def test_noise_over_arriving_classes_stays_among_the_classes_so_far(registry: Registry) -> None:
    base = ClassIncremental()
    found = wrong(registry, LabelNoise(base=base, noise=(0.5,)), base)
    given = train_labels(registry, LabelNoise(base=base, noise=(0.5,)))
    for stage, labels in enumerate(given):
        assert int(labels.max()) < 2 * (stage + 1)
    assert float(found[-1].float().mean()) == pytest.approx(0.5, abs=0.01)

"""Regimes that decide which classes arrive, or what images look like."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.tasks import small_digits

from plastibench.errors import RequestError
from plastibench.plugins.regime import Regime
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.class_incremental import ClassIncremental
from plastibench.plugins.regimes.class_pairs import ClassPairs
from plastibench.plugins.regimes.discard import Discard
from plastibench.plugins.regimes.permuted_pixels import PermutedPixels
from plastibench.plugins.regimes.repeat import Repeat
from plastibench.plugins.regimes.two_phase import TwoPhase
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage, Task
from plastibench.testing.run_trace import data_context


def task(registry: Registry, regime: Regime, **settings: Any) -> Task:
    return small_digits(registry, regime=regime, **{"stages": None, "train_size": 1000, **settings})


def stages(registry: Registry, regime: Regime, seed: int = 0, **settings: Any) -> list[Stage]:
    return list(task(registry, regime, **settings).stream(seed, data_context()))


def images(data: Any, labels: torch.Tensor) -> list[tuple[Any, ...]]:
    """Return pixels and label of each example, sorted."""
    return sorted((*x.flatten().tolist(), y) for x, y in zip(data.x, labels.tolist(), strict=True))


def test_classes_arrive_in_groups_and_are_numbered_as_they_arrive(registry: Registry) -> None:
    all_stages = stages(registry, ClassIncremental(), validation=0.2)
    assert [stage.num_classes for stage in all_stages] == [2, 4, 6, 8, 10]
    for stage in all_stages:
        seen = 2 * (stage.index + 1)
        labels = stage.train.labels()
        assert set(labels.tolist()) == set(range(seen))
        assert set(labels[-stage.num_new :].tolist()) == {seen - 2, seen - 1}
        for held_out in (stage.validation, stage.test):
            assert held_out is not None
            assert set(held_out.labels().tolist()) == set(range(seen))
    sizes = [len(stage.test) for stage in all_stages if stage.test is not None]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 600


def test_the_data_are_the_same_but_for_order_and_numbers_of_classes(registry: Registry) -> None:
    ours, plain = stages(registry, ClassIncremental())[-1], stages(registry, Accumulate(), stages=5)[-1]
    assert ours.test is not None
    assert plain.test is not None
    for one, other in ((ours.train, plain.train), (ours.test, plain.test)):
        pixels = [image[:-1] for image in images(one, one.labels())]
        assert pixels == [image[:-1] for image in images(other, other.labels())]
    pairs = {tuple(a) for a in zip(images(ours.test, ours.test.labels()), strict=True)}
    assert len(pairs) == 600


def test_the_order_of_classes_is_of_the_seed(registry: Registry) -> None:
    plain = stages(registry, Accumulate(), stages=2)[0].test
    assert plain is not None
    firsts = set()
    for seed in range(5):
        first = stages(registry, ClassIncremental(), seed=seed, max_stages=1)[0].test
        again = stages(registry, ClassIncremental(), seed=seed, max_stages=1)[0].test
        assert first is not None
        assert again is not None
        assert images(first, first.labels()) == images(again, again.labels())
        firsts.add(tuple(images(first, first.labels())[0]))
    assert len(firsts) > 1


def test_classes_can_be_discarded_or_arrive_in_two_phases(registry: Registry) -> None:
    discarded = stages(registry, ClassIncremental(base=Discard()))
    assert [set(stage.train.labels().tolist()) for stage in discarded] == [
        {2 * k, 2 * k + 1} for k in range(5)
    ]
    assert len(discarded[-1].test or ()) == 600
    assert [stage.num_classes for stage in stages(registry, ClassIncremental(base=TwoPhase()))] == [5, 10]


def test_all_logits_count_if_unseen_classes_are_not_masked(registry: Registry) -> None:
    plain, masked = (stages(registry, ClassIncremental(mask_unseen=mask)) for mask in (False, True))
    assert [stage.num_classes for stage in plain] == [None] * 5
    assert all(torch.equal(a.train.labels(), b.train.labels()) for a, b in zip(plain, masked, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": 11}, "stages=11 is not allowed: there are only 10 classes to arrive"),
        ({"train_size": 4}, "train_size is too small: there is a stage whose classes have no example"),
    ],
)
def test_more_stages_than_classes_are_refused(
    registry: Registry, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=f"^{re.escape(message)}"):
        stages(registry, ClassIncremental(), **settings)


def test_pairs_are_disjoint_until_every_class_was_used(registry: Registry) -> None:
    all_stages = stages(registry, ClassPairs(), validation=0.2)
    plain = stages(registry, Accumulate(), stages=2)[-1].test
    assert plain is not None
    class_of = {image[:-1]: image[-1] for image in images(plain, plain.labels())}
    pairs = []
    for stage in all_stages:
        assert stage.num_classes is None
        for data in (stage.train, stage.validation, stage.test):
            assert data is not None
            assert set(data.labels().tolist()) == {0, 1}
        test: Any = stage.test
        classes = [{class_of[i[:-1]] for i in images(test, test.labels()) if i[-1] == k} for k in (0, 1)]
        assert [len(each) for each in classes] == [1, 1]
        assert len(test) == sum(int((plain.labels() == each.pop()).sum()) for each in map(set, classes))
        pairs.append(frozenset().union(*classes))
    for half in (pairs[:5], pairs[5:]):
        assert frozenset().union(*half) == set(range(10))
    assert pairs[:5] != pairs[5:]


def test_a_model_of_pairs_has_two_outputs(registry: Registry) -> None:
    model = task(registry, ClassPairs()).model()
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 2)


def test_pixels_are_permuted_in_all_images_alike_and_anew_in_every_stage(registry: Registry) -> None:
    permuted = stages(registry, PermutedPixels(), stages=3, validation=0.1)
    plain = stages(registry, Repeat(), stages=3, validation=0.1)
    orders = []
    for one, other in zip(permuted, plain, strict=True):
        new, old = (
            torch.cat([getattr(each, part).x.flatten(1) for part in ("train", "validation", "test")])
            for each in (one, other)
        )
        assert torch.equal(new.sort(1).values, old.sort(1).values)
        columns = {tuple(column): place for place, column in enumerate(old.T.tolist())}
        orders.append([columns[tuple(column)] for column in new.T.tolist()])
        assert torch.equal(one.train.labels(), other.train.labels())
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(range(64))

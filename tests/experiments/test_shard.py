"""Shards are disjoint and complete, whatever the costs, and each has a fair part of the work."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support.stores import a_spec

from plastibench.errors import RequestError
from plastibench.experiments.shard import Shard, split, split_digest
from plastibench.experiments.spec import Spec


def grid(methods: int, seeds: int) -> list[Spec]:
    """Return the runs of a grid, seed by seed."""
    plain = a_spec()
    parts = [replace(plain.method, name=f"method{number}") for number in range(methods)]
    return [replace(plain, method=part, seed=seed) for seed in range(seeds) for part in parts]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 33])
def test_every_run_is_in_one_shard(count: int) -> None:
    specs, draw = grid(4, 5), random.Random(count)
    costs = {spec.id: draw.choice([0, 1, 5, 1000]) for spec in specs}
    shards = split(specs, costs, count)
    assert len(shards) == count
    assert sorted(spec.id for shard in shards for spec in shard) == sorted(spec.id for spec in specs)
    assert all(shard == [spec for spec in specs if spec in shard] for shard in shards), "in their order"


def test_the_split_depends_on_the_set_of_runs_and_their_costs_alone() -> None:
    specs = grid(4, 5)
    costs = {spec.id: 1 + spec.seed for spec in specs}
    mixed = random.Random(0).sample(specs, len(specs))
    one, other = split(specs, costs, 6), split(mixed, dict(reversed(costs.items())), 6)
    assert [{spec.id for spec in shard} for shard in one] == [{spec.id for spec in shard} for shard in other]
    assert split_digest(one) == split_digest(other)
    assert split_digest(one) != split_digest(split(specs, {**costs, specs[0].id: 99}, 6))


def test_runs_that_are_estimated_alike_are_mixed_by_method() -> None:
    specs = grid(4, 8)
    shards = split(specs, dict.fromkeys((spec.id for spec in specs), 10), 4)
    for shard in shards:
        assert sorted(spec.method.name for spec in shard) == sorted(f"method{n}" for n in (0, 1, 2, 3) * 2)


def test_no_shard_has_more_to_do_than_the_mean_and_one_run() -> None:
    specs, draw = grid(9, 20), random.Random(1)
    costs = {spec.id: draw.randrange(1, 10_000) for spec in specs}
    loads = [sum(costs[spec.id] for spec in shard) for shard in split(specs, costs, 12)]
    mean = sum(loads) / len(loads)
    assert max(loads) < 1.05 * mean
    one_is_long = {**costs, specs[5].id: 10**9}
    assert [specs[5]] in split(specs, one_is_long, 12), "the longest run has a shard of its own"


def test_a_shard_is_written_as_number_and_count() -> None:
    assert Shard.parse(" 3/8 ") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "1/2/3", "-1/2", "a/b", "", "1/100001", 2, 0.5])
def test_what_is_no_shard_is_named(text: object) -> None:
    with pytest.raises(RequestError, match="1/8 for the first of eight"):
        Shard.parse(text)

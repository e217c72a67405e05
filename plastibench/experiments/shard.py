"""Shards: a fixed part of a set of runs for each of several jobs that know nothing of each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, digest

MAX_SHARDS = 100_000
"""More are taken for a typing error."""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a set of runs."""

    index: int
    """From 1."""
    count: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the shard of a text such as "2/8". Raises RequestError, for a number from Python, too."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", str(text))
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= index <= count <= MAX_SHARDS:
            raise RequestError(
                f"shard={text} is not allowed: write NUMBER/COUNT, such as 1/8 for the first of eight "
                f"shards, with NUMBER from 1 to COUNT and COUNT at most {MAX_SHARDS:,}"
            )
        return cls(index, count)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.index}/{self.count}"


def split(specs: Sequence[Spec], costs: Mapping[str, int], count: int) -> list[list[Spec]]:
    """Return the runs of each shard, in the order of `specs`; every run is in one shard.

    The longest runs are dealt out first, each to the shard with the least to do, and of several such
    shards to the one with the fewest runs of the same method and setting: all runs of a suite may be
    estimated alike and differ by method. Costs are whole numbers, by run id, so that every machine adds up
    the same: the result depends on the set of runs and their costs alone.
    """
    import numpy as np

    load = np.zeros(count, dtype=np.int64)
    same: dict[str, Any] = defaultdict(lambda: np.zeros(count, dtype=np.int64))
    """Runs of a variant in each shard."""
    place: dict[str, int] = {}
    for spec in sorted(specs, key=lambda spec: (-costs[spec.id], spec.seed, spec.variant_id, spec.id)):
        least = np.flatnonzero(load == load.min())
        shard = int(least[np.argmin(same[spec.variant_id][least])])
        place[spec.id] = shard
        load[shard] += costs[spec.id]
        same[spec.variant_id][shard] += 1
    shards: list[list[Spec]] = [[] for _ in range(count)]
    for spec in specs:
        shards[place[spec.id]].append(spec)
    return shards


def split_digest(shards: Sequence[Sequence[Spec]]) -> str:
    """Return six digits that shards of one split share: they tell whether two jobs divided alike."""
    return digest([sorted(spec.id for spec in shard) for shard in shards])[:6]

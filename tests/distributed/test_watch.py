"""A rank that hangs is named after the limit; one that is slow, or waits for the next run, is not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from torch._C._distributed_c10d import HashStore

from plastibench.distributed.watch import TIMEOUT, TIMEOUT_VARIABLE, Limit, Watch, rank_timeout
from plastibench.errors import RequestError

LIMIT = 0.5


class Ranks:
    """The watches of some ranks, and what they have said."""

    def __init__(self, size: int) -> None:
        self.said: dict[int, tuple[str, bool]] = {}
        store = HashStore()
        self.watches = [Watch(store, rank, size, self._limit(rank)) for rank in range(size)]

    def _limit(self, rank: int) -> Limit:
        return Limit(LIMIT, lambda message, is_first: self.said.update({rank: (message, is_first)}))

    def wait(self, number: int, seconds: float = 60) -> None:
        """Wait until so many ranks have said something, at most some time."""
        deadline = time.monotonic() + seconds
        while len(self.said) < number and time.monotonic() < deadline:
            time.sleep(0.01)


@pytest.fixture
def three() -> Iterator[Ranks]:
    ranks = Ranks(3)
    yield ranks
    for watch in ranks.watches:
        watch.end()


def test_the_rank_that_is_furthest_behind_is_named_by_the_first_of_the_others(three: Ranks) -> None:
    first, second, third = three.watches
    for watch in (first, second, third):
        watch.begin()
        watch.rest()
    first.place = second.place = (1, 2, 3)
    first.begin()
    first.begin()
    second.begin()
    three.wait(2)
    assert three.said[0] == (
        "rank 2 of 3 did not come to stage 2, epoch 3, step 4 within 0.5 s (PLASTIBENCH_RANK_TIMEOUT)",
        True,
    )
    assert not three.said[1][1]
    assert 2 not in three.said


def test_a_rank_that_does_not_answer_is_named(three: Ranks) -> None:
    three.watches[0].end()  # a process that is stopped answers as little as one whose watch is
    three.watches[1].begin()
    three.watches[2].begin()
    three.wait(2)
    assert 0 not in three.said
    for rank in (1, 2):
        message, is_first = three.said[rank]
        assert message.startswith("rank 0 of 3 did not come to the start of the run")
        assert is_first == (rank == 1)


def test_a_rank_that_comes_late_or_rests_is_not_missing(three: Ranks) -> None:
    for watch in three.watches:
        watch.begin()
    three.watches[0].rest()
    three.wait(1, 3 * LIMIT)
    assert three.said == {}


def test_the_limit_is_a_number_of_seconds() -> None:
    assert rank_timeout({}) == TIMEOUT
    assert rank_timeout({TIMEOUT_VARIABLE: "90"}) == 90
    for text in ("0", "-3", "inf", "nan", "ten", ""):
        with pytest.raises(RequestError, match=f"{TIMEOUT_VARIABLE}={text} is not allowed"):
            rank_timeout({TIMEOUT_VARIABLE: text})

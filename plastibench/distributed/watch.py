"""A time limit for ranks that no longer come: one that hangs would let the others wait for ever."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plastibench.errors import RequestError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

TIMEOUT_VARIABLE = "PLASTIBENCH_RANK_TIMEOUT"
"""The environment variable with the seconds that ranks wait for one that does not come."""
TIMEOUT = 1800.0
"""Its default: ranks do the same work, so one is this late only if it hangs, or measures slow probes."""
MOST_SECONDS = 5.0
"""How often the limit is looked at, at least."""
LOOKS = 12
"""How often at least it is looked at until it is over, and until a rank that lives has answered."""

OnMissing = Callable[[str, bool], None]
"""What to do about ranks that did not come, given a sentence that names them, and whether this rank is
the one to say it."""


def rank_timeout(environment: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that ranks wait for one that does not come. Raises RequestError."""
    text = environment.get(TIMEOUT_VARIABLE, str(TIMEOUT))
    with suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return seconds
    raise RequestError(f"{TIMEOUT_VARIABLE}={text} is not allowed: it is a number of seconds above 0")


@dataclass(frozen=True)
class Limit:
    """How long ranks wait for one that does not come, and what is done then."""

    seconds: float
    on_missing: OnMissing


class Watch:
    """Notices, in a thread of its own, that this rank waits for another that does not come.

    Every rank counts what all of them do together. One that has waited for too long asks the others how far
    they are: those that do not answer, or else are furthest behind, are missing. The limit of
    torch.distributed would not say who is missing, and would end ranks that wait for the next run.
    """

    def __init__(self, store: Store, rank: int, size: int, limit: Limit) -> None:
        """Start; `store` is one that all ranks share, and that nothing else of this process waits for."""
        self._store, self._rank, self._size, self._limit = store, rank, size, limit
        self.place: tuple[int, int, int] | None = None
        """Where in the run this rank is: stage, epoch and step, from 0 on."""
        self._number = 0
        self._since: float | None = None
        self._settled = self._answered = 0
        self._ended = threading.Event()
        self._seconds = min(MOST_SECONDS, limit.seconds / LOOKS)
        threading.Thread(target=self._look, name="plastibench-ranks", daemon=True).start()

    def begin(self) -> None:
        """Begin what all ranks do together: from now on this one may wait for the others."""
        self._number += 1
        self._since = time.monotonic()

    def rest(self) -> None:
        """Wait for no rank, or for the next run, which may take any time."""
        self._since = None

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()

    def _look(self) -> None:
        with suppress(RuntimeError):  # the store is gone, and with it the process that had it
            while not self._ended.wait(self._seconds):
                self._answer()
                number, since = self._number, self._since
                if since is None or number == self._settled:
                    continue
                if time.monotonic() - since > self._limit.seconds:
                    self._settle(number, since)

    def _answer(self) -> None:
        """Tell a rank that has asked since the last look how far this one is."""
        asked = int(self._store.get("asked")) if self._store.check(["asked"]) else 0
        if asked > self._answered:
            self._answered = asked
            self._store.set(f"rank {self._rank}", f"{asked} {self._number}")

    def _settle(self, number: int, since: float) -> None:
        """Ask who is missing, and act on it unless this rank has gone on in the meantime."""
        missing = self._missing(self._ask(), number)
        if self._since != since or self._ended.is_set():
            return
        self._settled = number  # if all have begun it, none can be missing any more
        if missing:
            first = min(rank for rank in range(self._size) if rank not in missing)
            self._limit.on_missing(self._sentence(missing), self._rank == first)

    def _ask(self) -> list[int | None]:
        """Return how far each rank is, or None for one that does not answer."""
        question, looks = self._store.add("asked", 1), 0
        answers: list[int | None] = [None]
        while None in answers and looks < LOOKS and not self._ended.wait(self._seconds):
            self._answer()
            answers = [self._answer_to(question, rank) for rank in range(self._size)]
            looks += 1
        return answers

    def _answer_to(self, question: int, rank: int) -> int | None:
        """Return how far a rank has said to be, or None if it has not answered yet."""
        key = f"rank {rank}"
        if not self._store.check([key]):
            return None
        asked, number = map(int, self._store.get(key).split())
        return number if asked >= question else None

    @staticmethod
    def _missing(numbers: list[int | None], number: int) -> list[int]:
        if None in numbers:
            return [rank for rank, other in enumerate(numbers) if other is None]
        least = min(other for other in numbers if other is not None)
        return [rank for rank, other in enumerate(numbers) if other == least] if least < number else []

    def _sentence(self, missing: list[int]) -> str:
        who = f"{'rank' if len(missing) == 1 else 'ranks'} {', '.join(map(str, missing))} of {self._size}"
        place = "the start of the run"
        if self.place is not None:
            place = "stage {}, epoch {}, step {}".format(*(number + 1 for number in self.place))
        return f"{who} did not come to {place} within {self._limit.seconds:g} s ({TIMEOUT_VARIABLE})"

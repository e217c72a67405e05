"""The contract of a probe: measurements of the model that change nothing of the run."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plastibench.errors import RequestError
from plastibench.plugins.fields import Settings

if TYPE_CHECKING:
    from plastibench.plugins.task import Task
    from plastibench.training.learner import Learner

ARRIVAL, STAGE_START, STAGE_END = "arrival", "stage_start", "stage_end"
MOMENT = re.compile(rf"{ARRIVAL}|{STAGE_START}|epoch_[1-9]\d*|{STAGE_END}")
PER_LAYER = "[*]"
"""The end of a name in `units` that stands for one measurement of each layer."""


def moment_order(moment: str) -> tuple[int, int]:
    """Return a key that sorts the moments of a stage by time."""
    kind, _, number = moment.partition("_")
    if kind == "epoch":
        return 2, int(number)
    return (ARRIVAL, STAGE_START, "epoch", STAGE_END).index(moment), 0


def epoch_end(number: int) -> str:
    """Return the moment after so many epochs of a stage."""
    return f"epoch_{number}"


@dataclass(frozen=True, kw_only=True)
class Probe(Settings, ABC):
    """Measurements at moments of every stage. A subclass is a frozen dataclass; its fields are settings."""

    units: ClassVar[Mapping[str, str]]
    """The name of each measurement and its unit; an empty text if it has none. A name such as `norm[*]`
    stands for one measurement of each layer: `norm[conv1]`, `norm[fc]`."""
    moments: ClassVar[tuple[str, ...]] = (STAGE_END,)
    """When to measure: `arrival` of the data, before the method acts; `stage_start`, after it has acted and
    before the first step; `epoch_1`, `epoch_2` and so on, after so many epochs; `stage_end`."""

    @abstractmethod
    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return a value for each name in `units`; NaN if there is none.

        `learner` is a copy: the probe may change its model and optimizer and draw from its random streams,
        which are the same at all moments of a stage. Its stage holds the run's own data, which must not be
        changed.
        """

    def unsupported(self, task: Task) -> str | None:
        """Return why the probe cannot measure on a task or its model, or None; asked before the run."""
        return None

    @classmethod
    def check_contract(cls) -> None:
        """Raise RequestError for moments that no stage has, or none."""
        for moment in cls.moments:
            if not MOMENT.fullmatch(moment):
                raise RequestError(
                    f"{moment!r} in moments of {cls.__name__} is no moment: there are {ARRIVAL}, "
                    f"{STAGE_START}, epoch_1, epoch_2 and so on, and {STAGE_END}"
                )
        if not cls.moments or len(set(cls.moments)) < len(cls.moments):
            raise RequestError(f"moments of {cls.__name__} must be one or more different ones")

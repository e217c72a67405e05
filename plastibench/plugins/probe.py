"""The contract of a probe: measurements of the trained model that change nothing of the run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plastibench.plugins.fields import Settings

if TYPE_CHECKING:
    from plastibench.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class Probe(Settings, ABC):
    """Measurements at the end of every stage. A subclass is a frozen dataclass; its fields are settings."""

    units: ClassVar[Mapping[str, str]]
    """The name of each measurement and its unit; an empty text if it has none."""

    @abstractmethod
    def measure(self, learner: Learner) -> Mapping[str, float]:
        """Return a value for each name in `units`; NaN if there is none.

        `learner` is a copy: the probe may change its model and optimizer and draw from its random streams.
        Its stage holds the run's own data, which must not be changed.
        """

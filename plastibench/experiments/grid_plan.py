"""What a grid comes to: the runs, and the methods that cannot run where they were asked to."""

from dataclasses import dataclass
from typing import NamedTuple

from plastibench.experiments.spec import Spec


@dataclass(frozen=True)
class Refusal:
    """A method that cannot run on a task and model."""

    spec: Spec
    """Of one of its runs."""
    reason: str

    def __str__(self) -> str:
        """Return the message for the user."""
        return f"method {self.spec.method.name} cannot run on this task and model: {self.reason}"


class GridPlan(NamedTuple):
    """The runs of a grid."""

    specs: list[Spec]
    refused: list[Refusal]

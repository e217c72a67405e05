"""What the first rank of a run tells the others: what to train, and from which state on."""

from dataclasses import dataclass

from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.training.callbacks import StateDict


@dataclass(frozen=True)
class Assignment:
    """A run that all ranks train."""

    spec: Spec
    context: RunContext
    progress: StateDict | None
    """The state to resume from; None is the beginning."""

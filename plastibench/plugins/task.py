"""The contract of a task: a stream of stages, a model, and the recipe that every method is trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plastibench.plugins.architecture import Architecture
from plastibench.plugins.fields import Settings
from plastibench.plugins.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from plastibench.data.dataset import Dataset
    from plastibench.devices import Device


@dataclass(frozen=True)
class Stage:
    """The period between two arrivals of data."""

    index: int
    train: Dataset
    """All that may be trained on, in order of arrival."""
    chunks: tuple[int, ...]
    """How many training examples came with each arrival still in `train`, oldest first."""
    validation: Dataset | None
    """Set aside from the same chunks, for tuning; None where none was asked for."""
    test: Dataset | None
    """Read once a stage, for tables; None if the test data are held out, as in a tuning."""
    checksum: str
    """Of the whole data set, as it was decoded."""

    @property
    def new(self) -> int:
        """Return how many training examples, the last ones, came with this stage."""
        return self.chunks[-1]


@dataclass(frozen=True)
class DataContext:
    """Device and folders that a task loads its data with; none of it decides the numbers."""

    device: Device
    data: Path
    """Folder in which data sets are looked for and to which they are downloaded."""
    cache: Path
    """Folder for decoded data that can be made again."""


@dataclass(frozen=True, kw_only=True)
class Task(Settings, ABC):
    """A stream of stages with the model and the recipe that are trained on it."""

    recipe: Recipe
    architecture: Architecture

    default_architecture: ClassVar[str] = "resnet18"

    @abstractmethod
    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        """Yield the stages of one seed, with their data on the context's device.

        Must not depend on the model or on the method. Raises DataError where data are missing.
        """

    @abstractmethod
    def num_stages(self) -> int:
        """Return how many stages `stream` yields."""

    @abstractmethod
    def model(
        self,
        activation: Callable[[], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> nn.Module:
        """Return an untrained model for this task, on the CPU, initialized from torch's global stream."""

    @classmethod
    @abstractmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the named recipes for an architecture; the first one is the default."""

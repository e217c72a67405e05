"""The contract of a task: a stream of stages, a model, and the recipe of all methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plastibench.distributed.ranks import SOLO, Ranks
from plastibench.errors import RequestError
from plastibench.plugins.architecture import Architecture
from plastibench.plugins.code_names import names_in
from plastibench.plugins.contract import names_used
from plastibench.plugins.fields import Settings
from plastibench.plugins.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plastibench.data.dataset import Dataset
    from plastibench.devices import Device


@dataclass
class Pool:
    """Training examples that have not arrived, of which the model chooses those that arrive next."""

    data: Dataset
    rank: Callable[[Tensor], Tensor]
    """Returns in which order they arrive, shape (n,) int64, given the model's logits, shape (n, classes)."""
    order: Tensor | None = None
    """Set by whoever has trained the model, before the next stage is asked for; None keeps theirs."""


@dataclass(frozen=True)
class Stage:
    """The period between two arrivals of data."""

    index: int
    train: Dataset
    """The training data, in order of arrival."""
    chunks: tuple[int, ...]
    """Sizes of the chunks in `train`, or of what is left of them, oldest first."""
    validation: Dataset | None
    """Held out from the same chunks, for tuning; None without validation data."""
    test: Dataset | None
    """Read once per stage, for tables; None in tuning runs, which must not read it. A method can read it in
    `after_stage` alone, to report."""
    checksum: str = ""
    """Of the whole data set, set by ClassificationTask; another stream's is computed from its stages."""
    left_out: tuple[str, ...] = ()
    """Files of the data set that are not used because they could not be decoded, with the reasons."""
    num_classes: int | None = None
    """Logits of the classes from this one on count neither in the loss nor in the accuracy; None is all."""
    available: tuple[int, ...] = ()
    """How many examples of `train`, oldest first, have arrived in each of the first epochs; then all have."""
    pool: Pool | None = None
    """Where the model chooses what arrives next; methods do not see it."""

    @property
    def num_new(self) -> int:
        """Return the number of training examples that arrived with this stage, the last ones of `train`."""
        return self.chunks[-1]


@dataclass(frozen=True)
class DataContext:
    """Device and folders that a task loads its data with, and the ranks; none of it decides the numbers."""

    device: Device
    data: Path
    """Folder of the data sets, to which missing ones are downloaded."""
    cache: Path
    """Folder for decoded data, which can be deleted."""
    ranks: Ranks = SOLO
    """The processes that train a run together."""


@dataclass(frozen=True, kw_only=True)
class Task(Settings, ABC):
    """A stream of stages, with the model and the recipe."""

    recipe: Recipe
    architecture: Architecture

    default_architecture: ClassVar[str] = "resnet18"

    def __post_init__(self) -> None:
        """Raise RequestError for a recipe without normalization if the task's code does not ask for it."""
        super().__post_init__()
        if not self.recipe.normalize and names_used(type(self), Task).isdisjoint(("normalize", "preprocess")):
            raise RequestError(
                f"normalize=false means nothing for {type(self).__name__}, whose code does not read normalize"
            )

    @abstractmethod
    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        """Yield the stages of a seed, with their data on the context's device.

        They must depend on neither the model nor the method. Raises DataError if data are missing.
        """

    @abstractmethod
    def num_stages(self) -> int:
        """Return the number of stages that `stream` yields."""

    @abstractmethod
    def model(
        self,
        activation: Callable[[], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> nn.Module:
        """Return an untrained model on the CPU, initialized from torch's global random stream."""

    @classmethod
    def uses_architecture(cls) -> bool:
        """Return whether `model` builds the architecture, rather than a model of the task's own."""
        owner = next(part for part in cls.__mro__ if "model" in vars(part))
        is_usual = not names_used(owner, Task)  # the contract's own
        return (
            is_usual or "architecture" in names_used(owner, Task) or "model" in names_in(vars(owner)["model"])
        )

    @classmethod
    @abstractmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the named recipes for an architecture; the first one is the default."""

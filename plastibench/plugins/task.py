"""The contract of a task: a stream of stages, a model, and the recipe that every method is trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from plastibench.errors import RequestError
from plastibench.settings import Settings, setting

if TYPE_CHECKING:
    from torch import nn

    from plastibench.data.core import Data
    from plastibench.devices import Device
    from plastibench.models import Architecture

Counting = Literal["examples", "batches"]
"""An accuracy as correct examples over examples, or as the plain mean of the batches' accuracies."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """How one stage is trained; the same for every method of a comparison."""

    optimizer: Literal["sgd", "sam", "adam", "adamw"] = "sgd"
    learning_rate: float = setting(0.001, within=(0.0, None))
    momentum: float = setting(0.9, within=(0.0, 1.0))
    """Of SGD, alone and inside SAM; Adam's first moment decays with it too."""
    weight_decay: float = setting(0.0, within=(0.0, None))
    """Added to the gradient, except for adamw, which shrinks the weights themselves."""
    rho: float = setting(0.1, within=(0.0, None), only=("optimizer", "sam"))
    """Radius of SAM's ascent step."""
    adaptive: bool = setting(False, only=("optimizer", "sam"))
    """Scale SAM's ascent by the size of each weight (ASAM)."""
    sam_statistics: Literal["both", "first"] = setting("both", only=("optimizer", "sam"))
    """Which of SAM's two passes move the running statistics of batch normalisation."""
    schedule: Literal["constant", "steps"] = "constant"
    milestones: tuple[int, ...] = ()
    """Epochs, counted from the start of each stage, at which the rate is multiplied by `decay`."""
    decay: float = setting(0.2, within=(0.0, 1.0), only=("schedule", "steps"))
    warmup_epochs: int = setting(0, within=(0, None))
    """Epochs, at the start of every stage, over which the rate rises linearly from 0."""
    batch_size: int = setting(128, within=(2, None))
    target_accuracy: float | None = setting(0.999, within=(0.0, 1.0))
    """A stage ends with the first epoch whose training accuracy reaches this share."""
    max_epochs: int | None = setting(10_000, within=(1, None))
    max_steps: int | None = setting(None, within=(1, None))
    train_accuracy: Counting = "examples"
    """How the stop rule measures training accuracy; the DASH code averages batches."""
    test_accuracy: Counting = "examples"
    """How test accuracy is reported; the DASH code averages batches of 256."""
    test_batch_size: int = setting(256, within=(1, None))
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    normalise: bool = True
    """Shift and scale each channel by its mean and standard deviation."""
    augment: bool = False
    """Change training images at random, in the task's usual way."""

    def __post_init__(self) -> None:
        """Check what no single field can."""
        super().__post_init__()
        if self.target_accuracy is None and self.max_epochs is None and self.max_steps is None:
            raise RequestError(
                "a stage would never end: give one of target_accuracy, max_epochs and max_steps a value"
            )
        if bool(self.milestones) != (self.schedule == "steps"):
            raise RequestError(
                f"schedule={self.schedule} with milestones={','.join(map(str, self.milestones)) or 'none'}: "
                "schedule=steps needs milestones, and schedule=constant has none"
            )

    def rate_varies(self) -> bool:
        """Return whether the learning rate changes within a stage."""
        return self.schedule != "constant" or self.warmup_epochs > 0


@dataclass(frozen=True)
class Stage:
    """The period between two arrivals of data."""

    index: int
    train: Data
    """All that may be trained on, in order of arrival."""
    chunks: tuple[int, ...]
    """How many training examples came with each arrival still in `train`, oldest first."""
    validation: Data | None
    """Set aside from the same chunks, for tuning; None where none was asked for."""
    test: Data | None
    """Read once a stage, for tables; None where the run is sealed."""
    checksum: str
    """Of the whole data set, as it was decoded."""

    @property
    def new(self) -> int:
        """Return how many training examples, the last ones, came with this stage."""
        return self.chunks[-1]


@dataclass(frozen=True)
class Site:
    """Where a run happens. None of it decides the numbers."""

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
    def stream(self, seed: int, site: Site) -> Iterator[Stage]:
        """Yield the stages of one seed, with their data on the site's device.

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
        """Return an untrained model for this task, on the CPU, initialised from torch's global stream."""

    @classmethod
    @abstractmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the named recipes for an architecture; the first one is the default."""


class _Sealed:
    """Put in front of a task: its stages come without their test data."""

    def stream(self, seed: int, site: Site) -> Iterator[Stage]:
        """Yield the task's own stages, the test data taken out."""
        stages: Iterator[Stage] = super().stream(seed, site)  # type: ignore[misc]  # of the task behind
        for stage in stages:
            yield replace(stage, test=None)


def sealed(kind: type[Task]) -> type[Task]:
    """Return a task like `kind` whose test data nobody can read: what tuning runs are made of."""
    return cast(type[Task], type(kind.__name__, (_Sealed, kind), {}))

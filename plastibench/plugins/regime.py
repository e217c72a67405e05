"""The contract of a regime: which data arrive when, which of them a stage trains on, and how it sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from plastibench.errors import RequestError, count
from plastibench.plugins.fields import Settings
from plastibench.seeding import generator

if TYPE_CHECKING:
    from plastibench.data.dataset import Dataset
    from plastibench.plugins.task import Stage


@dataclass(frozen=True)
class Window:
    """The contiguous part of the stream that one stage trains on."""

    start: int
    end: int
    chunks: tuple[int, ...]
    """How many of its examples came with each arrival, oldest first."""


@dataclass(frozen=True, eq=False)
class Examples:
    """All training examples of a seed in random order, before they are divided into chunks."""

    data: Dataset
    order: Tensor
    """Which examples of `data`, shape (n,) int64 on the CPU."""
    num_classes: int
    seed: int

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def labels(self) -> Tensor:
        """Return the labels, shape (n,) int64 on the CPU."""
        return self.data.labels()[self.order]


@dataclass(frozen=True)
class Stream:
    """The whole stream of a seed, of which each stage is a part."""

    seed: int
    num_classes: int
    """Of the data set."""
    chunk_sizes: tuple[int, ...]
    """Training examples that arrive with each stage."""
    windows: tuple[Window, ...]
    """What each stage trains on."""

    def generator(self, *name: str | int) -> torch.Generator:
        """Return a fresh CPU generator of a random stream of the regime's own."""
        return generator(self.seed, "regime", *name)


@dataclass(frozen=True, kw_only=True)
class Regime(Settings, ABC):
    """Cuts a stream of examples into chunks, limits which of them a stage trains on, and may change them.

    A subclass is a frozen dataclass whose fields are its settings. The window of a stage always ends with
    the newest example.
    """

    default_stages: ClassVar[int] = 50
    """Number of chunks, and of stages, if the task's `stages` gives none."""
    fixed_stages: ClassVar[bool] = False
    """Whether no other number of stages is allowed."""
    shifts_targets: ClassVar[bool] = False
    """Whether what is to be learned changes between stages, so that accuracies of stages are not on one
    scale. Such runs measure loss of trainability, and no average includes both them and others."""

    @abstractmethod
    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return on how many of the newest examples a stage trains.

        `chunks` holds the sizes of the chunks that have arrived, oldest first. `scale` is 1 for training
        data; for validation data it is their number as a fraction of the training data.
        """

    def num_stages(self, stages: int | None) -> int:
        """Return the number of stages, given the task's setting. Raises RequestError if it is not allowed."""
        if self.fixed_stages and stages not in (None, self.default_stages):
            name, fixed = type(self).__name__, self.default_stages
            raise RequestError(f"stages={stages} is not allowed: regime {name} has {count(fixed, 'stage')}")
        return stages or self.default_stages

    def takes_equal_chunks(self, stages: int) -> bool:
        """Return whether the same data could come in so many equal chunks."""
        try:
            return self.num_stages(stages) == stages and not any(
                each.decides_arrivals() for each in self.chain()
            )
        except RequestError:
            return False

    def chunk_sizes(self, num_examples: int, num_chunks: int) -> list[int]:
        """Split examples as evenly as possible; if they do not divide, the first chunks get one more."""
        if num_examples < num_chunks:
            raise RequestError(
                f"stages={num_chunks} is not allowed: there are only {num_examples} training examples"
            )
        return even_split(num_examples, num_chunks)

    def arrivals(self, examples: Examples, num_chunks: int) -> Sequence[Tensor]:
        """Return the positions in `examples` of each chunk, by default consecutive ones of `chunk_sizes`."""
        sizes = self.chunk_sizes(len(examples), num_chunks)
        return list(torch.arange(len(examples)).split(sizes))

    def windows(self, chunks: Sequence[int], scale: float = 1.0) -> list[Window]:
        """Return what each stage trains on, given the number of examples that arrive with each."""
        ends = list(accumulate(chunks))
        sizes = [self.window_size(chunks[: stage + 1], scale) for stage in range(len(chunks))]
        return [_window(max(0, end - size), end, ends) for end, size in zip(ends, sizes, strict=True)]

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return a stage with other labels, images or test data, by default as it is.

        It must depend on nothing but the arguments, and draw from `stream.generator` only. `train` keeps its
        length and order.
        """
        return stage

    def rank(self, logits: Tensor) -> Tensor:
        """Return in which order the examples that have not arrived do so, shape (n,) int64.

        `logits`, (n, classes) float32 on the CPU, are those of the model after a stage. Called if a subclass
        defines it.
        """
        return torch.arange(len(logits))

    def lets_model_choose(self) -> bool:
        """Return whether what arrives next depends on the model, and so on the method."""
        return any(each.defines("rank") for each in self.chain())

    def num_outputs(self, num_classes: int) -> int:
        """Return the width of the model's logits for a data set of so many classes."""
        return num_classes

    def num_seen(self, stage: int, stream: Stream) -> int:
        """Return how many classes a stage knows: its labels are below it."""
        return self.num_outputs(stream.num_classes)

    def chain(self) -> tuple[Regime, ...]:
        """Return this regime and those that it lies over, the last of which limits the data."""
        return (self,)

    def decides_arrivals(self) -> bool:
        """Return whether this regime itself decides which data arrive when, rather than in equal chunks."""
        return self.defines("arrivals", "chunk_sizes")

    def defines(self, *methods: str) -> bool:
        """Return whether the regime itself defines one of the methods, rather than its contract."""
        contract = (Regime, Overlay)
        return any(
            getattr(type(self), name) not in [getattr(cls, name) for cls in contract] for name in methods
        )


@dataclass(frozen=True, kw_only=True)
class Overlay(Regime):
    """A regime over another one, its base, which decides all that the overlay does not.

    Named as `overlay+base`. A subclass declares its usual base: `base: Regime = field(default=Accumulate())`.
    """

    base: Regime

    def __post_init__(self) -> None:
        """Raise RequestError for two regimes of the same name, or that decide the same."""
        super().__post_init__()
        names = [type(each).__name__ for each in self.chain()]
        for decision in (("arrivals", "chunk_sizes"), ("arrivals", "rank")):
            deciding = [type(each).__name__ for each in self.chain() if each.defines(*decision)]
            if len(deciding) > 1:
                raise RequestError(
                    f"regimes {' and '.join(deciding[:2])} both decide which data arrive when: leave one out"
                )
        if len(set(names)) < len(names):
            raise RequestError(f"regime {'+'.join(names)} is not allowed: it names a regime twice")

    def require_unchanged_base(self) -> None:
        """Raise RequestError if a regime under this one changes stages: it must lie over this one."""
        for each in self.base.chain():
            if each.defines("transform"):
                over, name = type(each).__name__, type(self).__name__
                raise RequestError(f"regime {over} cannot lie under {name}: name it before {name}")

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        """Return what the base returns."""
        return self.base.window_size(chunks, scale)

    def num_stages(self, stages: int | None) -> int:
        """Return what the base returns."""
        return self.base.num_stages(stages)

    def chunk_sizes(self, num_examples: int, num_chunks: int) -> list[int]:
        """Return what the base returns."""
        return self.base.chunk_sizes(num_examples, num_chunks)

    def arrivals(self, examples: Examples, num_chunks: int) -> Sequence[Tensor]:
        """Return what the base returns, with this regime's sizes of chunks if it has its own."""
        if type(self).chunk_sizes is not Overlay.chunk_sizes:
            return super().arrivals(examples, num_chunks)
        return self.base.arrivals(examples, num_chunks)

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        """Return what the base returns."""
        return self.base.transform(stage, stream)

    def rank(self, logits: Tensor) -> Tensor:
        """Return what the base returns."""
        return self.base.rank(logits)

    def num_outputs(self, num_classes: int) -> int:
        """Return what the base returns."""
        return self.base.num_outputs(num_classes)

    def num_seen(self, stage: int, stream: Stream) -> int:
        """Return what the base returns."""
        return self.base.num_seen(stage, stream)

    @classmethod
    def usual_base(cls) -> Regime:
        """Return the declared base. Raises RequestError if there is none, so that it must be named."""
        found = next(each.default for each in fields(cls) if each.name == "base")
        if not isinstance(found, Regime):
            raise RequestError(f"{cls.__name__} has no usual base: write regime=NAME+BASE")
        return found

    def chain(self) -> tuple[Regime, ...]:
        """Return this regime and those that it lies over."""
        return (self, *self.base.chain())


def even_split(number: int, parts: int) -> list[int]:
    """Return `parts` whole numbers with a sum of `number`, the first ones larger by one if need be."""
    size, rest = divmod(number, parts)
    return [size + (position < rest) for position in range(parts)]


def map_data(stage: Stage, change: Callable[[Dataset], Dataset]) -> Stage:
    """Return a stage with its training, validation and test data changed alike."""
    held_out = (stage.validation, stage.test)
    validation, test = (None if data is None else change(data) for data in held_out)
    return replace(stage, train=change(stage.train), validation=validation, test=test)


def _window(start: int, end: int, chunk_ends: Sequence[int]) -> Window:
    edges = [start, *(edge for edge in chunk_ends if start < edge < end), end]
    return Window(start, end, tuple(b - a for a, b in pairwise(edges)))

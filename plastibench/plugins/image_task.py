"""A classification data set that arrives in chunks: what most tasks are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from plastibench.data.augment import Augmentation, NoAugmentation
from plastibench.data.images import DatasetSplits, LabeledImages, Preprocessing, in_memory_splits
from plastibench.errors import RequestError
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.fields import setting
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.regime import Regime
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.seeding import generator

if TYPE_CHECKING:
    from plastibench.data.dataset import Dataset

Channels = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class ImageTask(Task):
    """Images in chunks. A subclass says how they are loaded, their shape, and how many classes."""

    stages: int | None = setting(None, within=(2, None))
    """Number of chunks in which the data arrive; none is the regime's default."""
    regime: Regime = field(default=Accumulate())
    """Which of the data that have arrived a stage trains on."""
    max_stages: int | None = setting(None, within=(1, None))
    """Run only so many of the stages; their data are those of the whole schedule."""
    train_size: int | None = setting(None, within=(4, None))
    """Training examples used, drawn at random with the seed; none is all."""
    validation: float = setting(0.0, within=(0.0, 0.5))
    """Share of every chunk that is set aside for tuning."""

    shape: ClassVar[Shape]
    num_classes: ClassVar[int]
    augmentation: ClassVar[Augmentation] = NoAugmentation()
    """How training images are changed where the recipe says `augment`."""
    standard_recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the recipe named `standard`, where they differ from the architecture's."""
    recipe_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Published recipes: a name, and the settings that differ from the standard recipe's."""

    def __post_init__(self) -> None:
        """Check what no single field can."""
        super().__post_init__()
        self.num_chunks()
        reason = self.architecture.unsupported(self.input_shape())
        if reason is not None:
            model, task = type(self.architecture).__name__, type(self).__name__
            raise RequestError(f"{model} cannot be trained on {task}: {reason}")

    @abstractmethod
    def load(self, context: DataContext) -> DatasetSplits:
        """Return the whole data set on the context's device. Raises DataError where it is missing."""

    def preprocess(
        self,
        parts: tuple[LabeledImages, LabeledImages],
        context: DataContext,
        channels: Channels | None = None,
    ) -> DatasetSplits:
        """Return decoded (train, test) images on the context's device, as the recipe wants them.

        `channels` holds the mean and the standard deviation of each channel in [0, 1]; None
        measures them on the training images.
        """
        train, test = parts
        if not self.recipe.normalize:
            preprocessing = Preprocessing.unnormalized(train.x.shape[1], self.augmentation)
        elif channels is None:
            preprocessing = Preprocessing.from_statistics(train, self.augmentation)
        else:
            preprocessing = Preprocessing(*channels, self.augmentation)
        return in_memory_splits(type(self).__name__, train, test, preprocessing, context.device.torch_device)

    def input_shape(self) -> Shape:
        """Return the shape of one prepared image: (channels, height, width)."""
        return self.shape

    def output_classes(self) -> int:
        """Return the number of classes, the width of the logits."""
        return self.num_classes

    def num_chunks(self) -> int:
        """Return how many times data arrive in the whole schedule."""
        return self.regime.num_stages(self.stages)

    def num_stages(self) -> int:
        """Return how many stages are run."""
        return min(self.num_chunks(), self.max_stages or self.num_chunks())

    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        """Yield the stages of one seed; each is a part of one tensor, so nothing is copied."""
        whole = self.load(context)
        order, train_sizes, held_sizes = self._split(len(whole.train), seed)
        train = whole.train.take(order[: sum(train_sizes)])
        held = whole.train.take(order[sum(train_sizes) :])
        test, checksum = whole.test, whole.checksum
        del whole  # the unordered copy: a large set fits on the device once, not twice
        parts = self.regime.windows(train_sizes)
        held_parts = self.regime.windows(held_sizes, sum(held_sizes) / sum(train_sizes))
        for index in range(self.num_stages()):
            part, aside = parts[index], held_parts[index]
            yield Stage(
                index=index,
                train=train[part.start : part.end],
                chunks=part.chunks,
                validation=_part(held, aside.start, aside.end) if self.validation else None,
                test=test,
                checksum=checksum,
            )

    def model(
        self,
        activation: Callable[[], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> nn.Module:
        """Return an untrained model, by default with ReLU and batch normalization."""
        plain = nn.BatchNorm2d if self.architecture.spatial_norm else nn.BatchNorm1d
        parts = LayerFactories(activation=activation or nn.ReLU, norm=norm or plain)
        return self.architecture.build(self.input_shape(), self.output_classes(), parts)

    @classmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the standard recipe for an architecture, then the published ones."""
        standard = Recipe(**{**architecture.recipe, **cls.standard_recipe})
        presets = {name: replace(standard, **changes) for name, changes in cls.recipe_presets.items()}
        return {"standard": standard, **presets}

    def _split(self, available: int, seed: int) -> tuple[Tensor, list[int], list[int]]:
        """Return an order of the examples, all training parts before all held-out parts, and their sizes."""
        used = available if self.train_size is None else self.train_size
        if used > available:
            raise RequestError(f"train_size={used} is not allowed: there are {available} training examples")
        shuffled = torch.randperm(available, generator=generator(seed, "split"))[:used]
        sizes = self.regime.chunk_sizes(used, self.num_chunks())
        held = [round(size * self.validation) for size in sizes]
        pieces = [
            piece.split([size - aside, aside])
            for piece, size, aside in zip(shuffled.split(sizes), sizes, held, strict=True)
        ]
        order = torch.cat([train for train, _ in pieces] + [aside for _, aside in pieces])
        return order, [size - aside for size, aside in zip(sizes, held, strict=True)], held


def _part(data: Dataset, start: int, end: int) -> Dataset:
    if start == end:
        raise RequestError("validation is too small a share: a chunk gives no example to it")
    return data[start:end]

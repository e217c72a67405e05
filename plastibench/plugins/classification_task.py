"""A task that classifies examples of any shape, which arrive in chunks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from plastibench.data.described import described, named
from plastibench.data.images import DatasetSplits
from plastibench.errors import RequestError
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.code_names import names_in
from plastibench.plugins.fields import setting
from plastibench.plugins.layers import check_module
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.regime import Examples, Regime, Stream, Window
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.stages import apart
from plastibench.plugins.task import DataContext, Pool, Stage, Task
from plastibench.plugins.values import show
from plastibench.seeding import generator

if TYPE_CHECKING:
    from plastibench.data.dataset import Dataset

EQUAL_STEPS: Mapping[str, Any] = {"target_accuracy": None, "max_epochs": None, "max_steps": 1000}
"""Settings of the recipe of stages that are limited by compute: every method takes as many steps."""


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(Task):
    """Examples in chunks. A subclass defines their shape, the number of classes, and `load`."""

    stages: int | None = setting(None, within=(2, None))
    """Number of chunks in which the data arrive; none is the regime's default."""
    regime: Regime = field(default=Accumulate())
    """Which of the data that have arrived a stage trains on."""
    max_stages: int | None = setting(None, within=(1, None))
    """Run only the first stages; their data are the same as in a whole run."""
    train_size: int | None = setting(None, within=(4, None))
    """Number of training examples, drawn at random with the seed; none is all."""
    validation: float = setting(0.0, within=(0.0, 0.5))
    """Share of every chunk that is held out for tuning."""

    takes: ClassVar[tuple[str, ...]] = ("stages", "regime", "max_stages", "train_size", "validation")
    """Which of the settings above have an effect. Those that a subclass's own `stream` does not read are
    refused; a subclass whose helpers read them lists them here."""
    shape: ClassVar[Shape]
    num_classes: ClassVar[int]
    standard_recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the recipe `standard` that differ from the architecture's."""
    recipe_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Published recipes by name, and their settings that differ from the standard recipe's."""

    def __post_init__(self) -> None:
        """Raise RequestError for a number of stages or an architecture that does not fit."""
        super().__post_init__()
        self._check_taken()
        self.num_chunks()
        reason = self.architecture.unfit(self.input_shape())
        if reason is not None:
            model, task = type(self.architecture).__name__, type(self).__name__
            raise RequestError(f"{model} cannot be trained on {task}: {reason}")

    @abstractmethod
    def load(self, context: DataContext) -> DatasetSplits:
        """Return the whole data set on the context's device. Raises DataError if it is missing."""

    def input_shape(self) -> Shape:
        """Return the shape of an example: (channels, height, width) of an image, (features,) of a row."""
        return self.shape

    def output_classes(self) -> int:
        """Return the number of classes, the width of the logits."""
        return self.num_classes

    def num_chunks(self) -> int:
        """Return the number of chunks of the whole stream."""
        return self.regime.num_stages(self.stages)

    def num_stages(self) -> int:
        """Return the number of stages to run."""
        return min(self.num_chunks(), self.max_stages or self.num_chunks())

    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        """Yield the stages of a seed. Their data are slices of one tensor."""
        whole = self._load(context)
        order, train_sizes, validation_sizes = self._split(whole, seed)
        train = whole.train.take(order[: sum(train_sizes)])
        validation = whole.train.take(order[sum(train_sizes) :])
        test, checksum, num_classes = whole.test, whole.checksum, whole.num_classes
        left_out = whole.left_out
        del whole  # the unordered copy: a large set fits on the device once, not twice
        windows = self.regime.windows(train_sizes)
        validation_windows = self.regime.windows(validation_sizes, sum(validation_sizes) / sum(train_sizes))
        described = Stream(seed, num_classes, tuple(train_sizes), tuple(windows))
        for index in range(self.num_stages()):
            window, held_out = windows[index], validation_windows[index]
            stage = Stage(
                index=index,
                train=train[window.start : window.end],
                chunks=window.chunks,
                validation=_slice(validation, held_out) if self.validation else None,
                test=test,
                checksum=checksum,
                left_out=left_out,
            )
            may_choose = self.regime.lets_model_choose() and window.end < len(train)
            pool = Pool(train[window.end :], self.regime.rank) if may_choose else None
            yield replace(self.regime.transform(stage, described), pool=pool)
            if pool is not None and pool.order is not None:
                train = train.take(torch.cat([torch.arange(window.end), window.end + pool.order]))

    def model(
        self,
        activation: Callable[[], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> nn.Module:
        """Return an untrained model, by default with ReLU and the architecture's own normalization."""
        factories = LayerFactories(
            activation=activation or nn.ReLU, norm=norm or self.architecture.default_norm()
        )
        num_outputs = self.regime.num_outputs(self.output_classes())
        model = self.architecture.build(self.input_shape(), num_outputs, factories)
        check_module(model, type(self.architecture))
        return model

    @classmethod
    def recipes(cls, architecture: Architecture) -> Mapping[str, Recipe]:
        """Return the standard recipe for an architecture, that of equal steps, then the published ones."""
        standard = Recipe(**{**architecture.recipe, **cls.standard_recipe})
        equal_steps = replace(standard, **EQUAL_STEPS)
        presets = {name: replace(standard, **changes) for name, changes in cls.recipe_presets.items()}
        return {"standard": standard, "equal_steps": equal_steps, **presets}

    def _load(self, context: DataContext) -> DatasetSplits:
        """Return the whole data set. Raises RequestError if the subclass returns something else."""
        with apart(context.device, "data"):  # of no seed: the same data for all
            whole: Any = self.load(context)
        name, classes = named(type(self)), self.output_classes()
        if not isinstance(whole, DatasetSplits):
            raise RequestError(
                f"load of {name} returns {described(whole)}: it must return DatasetSplits, as "
                "self.preprocess or row_splits makes them"
            )
        if tuple(whole.train.shape) != tuple(self.input_shape()):
            raise RequestError(
                f"load of {name} returns examples of shape {tuple(whole.train.shape)}, and shape of the task "
                f"is {tuple(self.input_shape())}: they must be equal"
            )
        if whole.num_classes > classes:
            raise RequestError(
                f"load of {name} returns {whole.num_classes} classes, and the task has num_classes={classes}"
            )
        return whole

    def _check_taken(self) -> None:
        """Raise RequestError for a setting that the class's own `stream` would ignore."""
        cls, taken = type(self), self._taken()
        defaults = {f.name: f.default for f in fields(cls)}
        for name in ClassificationTask.takes:
            value = getattr(self, name)
            if name not in taken and value != defaults[name]:
                raise RequestError(
                    f"{name}={show(value)} means nothing for {cls.__name__}, whose stream does not read "
                    f"{name} but {', '.join(taken) or 'no setting'}: leave it out, or list {name} in `takes`"
                )

    @classmethod
    def _taken(cls) -> tuple[str, ...]:
        for part in cls.__mro__:
            if "takes" in vars(part):
                return cls.takes
            used = names_in(vars(part).get("stream"))
            in_class = {name for member in vars(part).values() for name in names_in(member)}
            if used and "stream" not in in_class:  # which it would have for super().stream(...)
                counted = {"stages", "max_stages"} if used & {"num_stages", "num_chunks"} else set()
                return tuple(name for name in ClassificationTask.takes if name in used | counted)
        raise AssertionError("unreachable: ClassificationTask declares it")

    def _split(self, whole: DatasetSplits, seed: int) -> tuple[Tensor, list[int], list[int]]:
        """Return an order of the examples, training before validation, and the sizes of their chunks."""
        available = len(whole.train)
        num_used = available if self.train_size is None else self.train_size
        if num_used > available:
            raise RequestError(f"train_size={num_used} is not allowed: there are {available} examples")
        shuffled = torch.randperm(available, generator=generator(seed, "split"))[:num_used]
        examples = Examples(whole.train, shuffled, whole.num_classes, seed)
        arrivals = [shuffled[chosen] for chosen in self.regime.arrivals(examples, self.num_chunks())]
        held_out = [round(len(chunk) * self.validation) for chunk in arrivals]
        kept = [len(chunk) - num for chunk, num in zip(arrivals, held_out, strict=True)]
        chunks = [
            chunk.split([num_kept, num_held_out])
            for chunk, num_kept, num_held_out in zip(arrivals, kept, held_out, strict=True)
        ]
        order = torch.cat([train for train, _ in chunks] + [validation for _, validation in chunks])
        return order, kept, held_out


def _slice(data: Dataset, window: Window) -> Dataset:
    if window.start == window.end:
        raise RequestError("validation is too small: there is a chunk of which no example is held out")
    return data[window.start : window.end]

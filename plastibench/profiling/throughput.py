"""How fast a device trains the models, measured with the code that runs use."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from plastibench.data.images import DatasetSplits, LabeledImages
from plastibench.devices import AUTOCAST, Device
from plastibench.plugins.architecture import Architecture
from plastibench.plugins.fields import setting
from plastibench.plugins.image_task import ImageTask
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.task import DataContext
from plastibench.seeding import generator
from plastibench.store.record import Record
from plastibench.training import flops
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner
from plastibench.training.step import TrainStep

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Noise(ImageTask):
    """Random images of 3x32x32: speed does not depend on what they show."""

    shape = (3, 32, 32)
    num_classes = 10
    images: int = setting(1024, within=(4, None))
    """To train on; half as many to test on."""

    def load(self, site: DataContext) -> DatasetSplits:
        """Return the images on the site's device."""
        draw = generator("bench", "images")

        def images(count: int) -> LabeledImages:
            pixels = torch.randint(256, (count, *self.shape), generator=draw, dtype=torch.uint8)
            return LabeledImages(pixels, torch.arange(count) % self.num_classes)

        return self.preprocess((images(self.images), images(self.images // 2)), site)


@dataclass(frozen=True)
class Speed:
    """What one model reached; rates are medians over repeats, with the smallest and the largest."""

    model: str
    precision: str
    batch_size: int
    train_images_per_second: float
    train_slowest: float
    train_fastest: float
    evaluation_images_per_second: float
    gigaflop_per_image: float
    """Of a forward and a backward pass, by torch's counter: convolutions and matrix products."""
    matrix_gigaflop_per_second: float
    """What a plain matrix product reached between the repeats: the device's peak at this precision."""
    utilization: float
    """Share of that peak that training reached."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Split:
    """Where the seconds of a run went, a mean over its stages."""

    train: float
    evaluation: float
    remedy: float
    store: float
    """Writing results to disk."""
    rest: float
    """Reading data, building models, and whatever else."""

    @classmethod
    def of(cls, record: Record) -> Split:
        """Return the split of a finished run."""
        stages, origin = record.stages, record.provenance
        parts = {
            name: float(sum(row[f"{name}_seconds"] for row in stages))
            for name in ("train", "evaluation", "remedy")
        }
        parts["store"] = float(origin["store_seconds"])
        parts["rest"] = max(0.0, float(origin["seconds"]) - sum(parts.values()))
        return cls(**{name: seconds / len(stages) for name, seconds in parts.items()})

    def shares(self) -> dict[str, float]:
        """Return each part's share of the whole."""
        parts = asdict(self)
        return {name: seconds / sum(parts.values()) for name, seconds in parts.items()}


def speeds(models: Sequence[tuple[str, Architecture]], recipe: Recipe, device: Device) -> Iterator[Speed]:
    """Measure one model after another with a recipe's optimizer, batch size and precision."""
    for name, architecture in models:
        yield _speed(name, noise(architecture, recipe), device)


def noise(architecture: Architecture, recipe: Recipe, images: int = 1024) -> Noise:
    """Return what is trained to measure a model with a recipe's optimizer, batch size and precision."""
    shaped = replace(recipe, normalize=True)
    return Noise(recipe=shaped, architecture=architecture, stages=2, images=images)


def trainer(task: Noise, device: Device, seed: int = 0) -> TrainStep:
    """Return an engine ready to train on all images."""
    learner = Learner(task, Method(), seed, device)
    learner.begin_stage(list(task.stream(seed, DataContext(device, Path(), Path())))[-1])
    learner.model.train()
    return TrainStep(learner, Method())


def _speed(name: str, task: Noise, device: Device) -> Speed:
    engine = trainer(task, device)
    learner = engine.learner
    test = learner.stage.test
    assert test is not None, "no sealed task is measured"
    train, tested, peak = [], [], []
    epoch(engine)  # the first one allocates and chooses kernels
    for _ in range(REPEATS):
        peak.append(matrix_rate(device, task.recipe.precision))
        train.append(len(learner.stage.train) / seconds(device, lambda: epoch(engine)))
        tested.append(len(test) / seconds(device, lambda: evaluate(learner.model, test, task.recipe, device)))
    flop = flop_per_image(task)
    return Speed(
        model=name,
        precision=task.recipe.precision,
        batch_size=task.recipe.batch_size,
        train_images_per_second=statistics.median(train),
        train_slowest=min(train),
        train_fastest=max(train),
        evaluation_images_per_second=statistics.median(tested),
        gigaflop_per_image=flop / 1e9,
        matrix_gigaflop_per_second=statistics.median(peak) / 1e9,
        utilization=statistics.median(rate * flop / top for rate, top in zip(train, peak, strict=True)),
    )


def epoch(engine: TrainStep) -> None:
    """Train on every image once, and wait for it."""
    engine.begin_epoch()
    for x, y in engine.learner.stage.train.batches(engine.recipe.batch_size):
        engine.step(x, y)
    engine.tally.read()


def seconds(device: Device, work: Callable[[], object]) -> float:
    """Return how long work takes on the device, to its end."""
    device.synchronize()
    start = perf_counter()
    work()
    device.synchronize()
    return perf_counter() - start


def matrix_rate(device: Device, precision: str) -> float:
    """Return the FLOP a second of a square matrix product in a precision, the best of three."""
    side = device.matrix_side
    kind = AUTOCAST.get(precision, torch.float32)
    a, b = (torch.randn(side, side, generator=generator("bench", n)).to(device.torch, kind) for n in "ab")
    with device.autocast(precision):
        torch.mm(a, b)
        fastest = min(seconds(device, lambda: torch.mm(a, b)) for _ in range(3))
    return 2 * side**3 / fastest


def flop_per_image(task: ImageTask) -> float:
    """Return the FLOP of a forward and a backward pass of one image, a multiply-add counted as two."""
    law = flops.flop_model(task.model(), task.input_shape(), backward=True)
    assert law is not None, "a model that is measured can be traced"
    return float(law.example.matrix)

"""Training throughput of models on a device, measured with the code that runs use, and seconds by phase."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Self

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
from plastibench.training.cost import PHASES
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner
from plastibench.training.step import TrainStep

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class RandomImages(ImageTask):
    """Random images of shape (3, 32, 32): throughput does not depend on their content."""

    shape = (3, 32, 32)
    num_classes = 10
    num_images: int = setting(1024, within=(4, None))
    """Training images; there are half as many test images."""

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the images on the context's device."""
        draw = generator("bench", "images")

        def images(count: int) -> LabeledImages:
            pixels = torch.randint(256, (count, *self.shape), generator=draw, dtype=torch.uint8)
            return LabeledImages(pixels, torch.arange(count) % self.num_classes)

        return self.preprocess((images(self.num_images), images(self.num_images // 2)), context)


@dataclass(frozen=True)
class Throughput:
    """Throughput of one model; rates are medians over repeats, with the slowest and the fastest."""

    model: str
    precision: str
    batch_size: int
    train_images_per_second: float
    train_slowest: float
    train_fastest: float
    evaluation_images_per_second: float
    gigaflop_per_image: float
    """Of a forward and a backward pass: matrix products and convolutions, by torch's counter."""
    matrix_gigaflop_per_second: float
    """Rate of a plain matrix product, measured between the repeats: the device's peak at this precision."""
    utilization: float
    """Fraction of that peak that training reached."""


def measure_throughput(
    models: Sequence[tuple[str, Architecture]], recipe: Recipe, device: Device
) -> Iterator[Throughput]:
    """Yield the throughput of each model, trained as the recipe says."""
    for name, architecture in models:
        yield _measure(name, random_images(architecture, recipe), device)


def random_images(architecture: Architecture, recipe: Recipe, num_images: int = 1024) -> RandomImages:
    """Return a task that trains a model on random images, normalized as in most recipes."""
    recipe = replace(recipe, normalize=True)
    return RandomImages(recipe=recipe, architecture=architecture, stages=2, num_images=num_images)


def make_train_step(task: RandomImages, device: Device, seed: int = 0) -> TrainStep:
    """Return a training step whose learner holds all images."""
    learner = Learner(task, Method(), seed, device)
    learner.begin_stage(list(task.stream(seed, DataContext(device, Path(), Path())))[-1])
    learner.model.train()
    return TrainStep(learner, Method(), device.graph_capturer())


def _measure(name: str, task: RandomImages, device: Device) -> Throughput:
    step = make_train_step(task, device)
    model, stage = step.learner.model, step.learner.stage
    test = stage.test
    assert test is not None, "the task has test images"
    train, evaluation, peak = [], [], []
    evaluation_pass = partial(evaluate, model, test, task.recipe, device, capturer=device.graph_capturer())
    train_epoch(step)  # the first epoch allocates memory and chooses kernels
    for _ in range(REPEATS):
        peak.append(matmul_rate(device, task.recipe.precision))
        train.append(len(stage.train) / time_call(device, lambda: train_epoch(step)))
        evaluation.append(len(test) / time_call(device, evaluation_pass))
    flop = flops_per_image(task)
    return Throughput(
        model=name,
        precision=task.recipe.precision,
        batch_size=task.recipe.batch_size,
        train_images_per_second=statistics.median(train),
        train_slowest=min(train),
        train_fastest=max(train),
        evaluation_images_per_second=statistics.median(evaluation),
        gigaflop_per_image=flop / 1e9,
        matrix_gigaflop_per_second=statistics.median(peak) / 1e9,
        utilization=statistics.median(rate * flop / top for rate, top in zip(train, peak, strict=True)),
    )


def train_epoch(step: TrainStep) -> None:
    """Train on every image once, and wait for the device."""
    step.metrics.reset()
    train = step.learner.stage.train
    order = torch.randperm(len(train), generator=generator("bench", "order"))
    for x, y in train.batches(step.recipe.batch_size, order):
        step(x, y)
    step.metrics.compute()


def time_call(
    device: Device, function: Callable[[], object], clock: Callable[[], float] = perf_counter
) -> float:
    """Return the seconds that a call takes on the device."""
    device.synchronize()
    start = clock()
    function()
    device.synchronize()
    return clock() - start


def matmul_rate(device: Device, precision: str, clock: Callable[[], float] = perf_counter) -> float:
    """Return the FLOPs per second of a square matrix product in a precision, the best of three."""
    side = device.matmul_size
    dtype = AUTOCAST.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device.torch_device, dtype=dtype) for _ in range(2))
    with device.autocast(precision):
        torch.mm(a, b)
        fastest = min(time_call(device, lambda: torch.mm(a, b), clock) for _ in range(3))
    return 2 * side**3 / fastest


def flops_per_image(task: ImageTask) -> float:
    """Return the FLOPs of a forward and a backward pass of one image; a multiply-add counts as two."""
    model = flops.flop_model(task.model(), task.input_shape(), backward=True)
    assert model is not None, "models that are measured can be traced"
    return float(model.per_example.matrix)


@dataclass(frozen=True)
class TimeBreakdown:
    """Seconds per stage of a run, averaged over its stages."""

    train: float
    remedy: float
    evaluation: float
    probes: float
    """Measurements that were asked for beside."""
    store: float
    """Writing results to disk."""
    rest: float
    """Reading data, building models and everything else."""

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the breakdown of a finished run."""
        parts: dict[str, float] = {
            phase: float(sum(row[f"{phase}_seconds"] for row in record.stages)) for phase in PHASES
        }
        parts["probes"] = float(sum(row.get("probe_seconds") or 0.0 for row in record.stages))
        parts["store"] = float(record.provenance["store_seconds"])
        parts["rest"] = max(0.0, float(record.provenance["seconds"]) - sum(parts.values()))
        return cls(**{name: seconds / len(record.stages) for name, seconds in parts.items()})

    def fractions(self) -> dict[str, float]:
        """Return each part as a fraction of the whole."""
        parts = asdict(self)
        return {name: seconds / sum(parts.values()) for name, seconds in parts.items()}

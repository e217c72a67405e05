"""Sources of models, tasks and probes that return, seed or write what they must not."""

from __future__ import annotations

MODEL = '''"""A model of a test."""
from dataclasses import dataclass

import torch
from torch import nn

from plastibench.api import Architecture

BUILT = []


class Pair(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x), x


@dataclass(frozen=True, kw_only=True)
class Mine(Architecture):
    """A perceptron."""

    width: int = 8

    def build(self, shape, num_classes, factories):
        """Return the model."""
        {before}
        first = nn.Linear(shape[0] * shape[1] * shape[2], self.width)
        net = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(self.width, {classes}))
        return {result}
'''


def model(before: str = "pass", classes: str = "num_classes", result: str = "net") -> str:
    """Return the source of a perceptron, given a line that comes first, its outputs, and what is returned."""
    return MODEL.format(before=before, classes=classes, result=result)


MODELS = {
    "the same module twice": (
        model(result="BUILT.append(net) or BUILT[0]"),
        "returns a model that it has built before",
    ),
    "the same layer twice": (
        model(before="BUILT.append(nn.Linear(8, 10))", result="nn.Sequential(*net[:-1], BUILT[0])"),
        "returns a model that it has built before",
    ),
    "a seed of its own": (model(before="torch.manual_seed(0)"), "seeds torch's global generator"),
    "a pair": (model(result="Pair(net)"), "returns a tuple of 2 for"),
    "more classes": (model(classes="num_classes + 3"), "must return logits, a tensor of shape"),
    "fewer classes": (model(classes="num_classes - 3"), "must return logits, a tensor of shape"),
    "one long row": (
        model(result="nn.Sequential(net, nn.Flatten(0))"),
        "must return logits, a tensor of shape",
    ),
    "nothing": (model(result="None"), "builds None: it must return a torch.nn.Module"),
}
"""Models with a mistake, and what is said of each."""

TASK = '''"""A task of a test."""
from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch

from plastibench.api import DataContext, Dataset, ImageTask, LabeledImages


class Own(Dataset):
    shape = (1, 8, 8)

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, part):
        return {part}

    def take(self, indices):
        return Own(self.x[indices], self.y[indices])

    def batches(self, size, order=None, augment=None):
        order = torch.arange(len(self)) if order is None else order
        for chosen in order.split(size):
            x, y = self.x[chosen], self.y[chosen]
            {batch}


@dataclass(frozen=True, kw_only=True)
class Mine(ImageTask):
    """Noise that is brighter in one class."""

    default_architecture = "mlp_bn"
    shape = (1, 8, 8)
    num_classes = 2
    standard_recipe = {{"normalize": True}}

    def load(self, context: DataContext):
        """Return training and test set."""
        {before}
        draws = torch.Generator().manual_seed(0)
        y = torch.arange(150) % 2
        x = torch.randint(0, 128, (150, 1, 8, 8), generator=draws) + 64 * y.view(-1, 1, 1, 1)
        train, test = (LabeledImages(x[at].byte(), y[at]) for at in (slice(100), slice(100, None)))
        splits = self.preprocess((train, test), context)
        return {result}

    def stream(self, seed, context):
        """Yield the stages."""
        for stage in super().stream(seed, context):
            yield {stage}
'''
OWN = "replace(splits, train=Own(train.x.float(), train.y))"


def task(
    before: str = "pass",
    result: str = "splits",
    stage: str = "stage",
    part: str = "Own(self.x[part], self.y[part])",
    batch: str = "yield x, y",
) -> str:
    """Return the source of a task, with what its methods and those of its data set return."""
    return TASK.format(before=before, result=result, stage=stage, part=part, batch=batch)


TASKS = {
    "no data": (task(result="None"), "load of {} returns None: it must return DatasetSplits"),
    "a pair of data": (task(result="(train, test)"), "load of {} returns a tuple of 2: it must return Data"),
    "no stage": (task(stage="None"), "stream of {} yields None: it must yield Stage objects"),
    "a pair": (task(stage="(stage.train, stage.test)"), "stream of {} yields a tuple of 2: it must yield"),
    "other numbers": (task(stage="replace(stage, index=7)"), "yields a stage with index=7 where 0 comes"),
    "other chunks": (task(stage="replace(stage, chunks=(1,))"), "chunks=(1,) and 50 training examples"),
    "a part that is no data": (
        task(result=OWN, part="self.x[part], self.y[part]"),
        "stage 0 whose train is a tuple of 2: it must be a Dataset",
    ),
    "batches that are rows": (
        task(result=OWN, batch="yield x.flatten(1)[:, :60], y"),
        "they must be a tensor of shape (50, 1, 8, 8), float32",
    ),
    "batches of bytes": (task(result=OWN, batch="yield x.byte(), y"), "(50, 1, 8, 8), uint8, with 50 labels"),
    "labels that are numbers": (
        task(result=OWN, batch="yield x, y.float()"),
        "labels that are a tensor of shape (50,), float32: they must be a tensor of shape (b,), int64",
    ),
    "labels that are a list": (task(result=OWN, batch="yield x, y.tolist()"), "labels that are a list of 50"),
    "too few labels": (task(result=OWN, batch="yield x, y[1:]"), "with 49 labels: they must be"),
    "three parts": (task(result=OWN, batch="yield x, y, y"), "yields a tuple of 3: it must yield pairs"),
    "no batches": (task(result=OWN, batch="return None"), "returns None: it must yield pairs"),
    "labels above the classes": (task(result=OWN, batch="yield x, y + 1"), "labels from 1 to 2"),
}
"""Tasks with a mistake, and what is said of each; {} stands for the class and its file."""

PROBE = '''"""A probe of a test."""
import random
from dataclasses import dataclass

import torch

from plastibench.api import Probe

COUNT = [0]


@dataclass(frozen=True, kw_only=True)
class Mine(Probe):
    """Measure something."""

    units = {{"mean": ""}}

    def measure(self, learner):
        """Return it."""
        data = learner.stage.train
        x, y = next(data.batches(16))
        {line}
        return {value}
'''


def probe(value: str = "{'mean': 1.0}", line: str = "pass") -> str:
    """Return the source of a probe, with a line before the value that it returns."""
    return PROBE.format(value=value, line=line)


VALUES = {
    "a tensor": (probe("{'mean': x}"), "returns mean=a tensor of shape (16, 1, 8, 8), float32"),
    "a text": (probe("{'mean': '1.5'}"), "returns mean='1.5': each measurement must be a number"),
    "no value": (probe("{'mean': None}"), "returns mean=None: each measurement must be a number"),
    "a list": (probe("{'mean': [1.0]}"), "returns mean=a list of 1: each"),
    "a complex number": (probe("{'mean': 1j}"), "returns mean=1j: each"),
    "no mapping": (probe("1.0"), "returns 1.0: measure must return a mapping with a number for each of mean"),
    "nothing": (probe("None"), "returns None: measure must return a mapping"),
    "another name": (probe("{'means': 1.0}"), "returns means, but declares mean"),
    "a name that is no text": (probe("{1: 1.0, 'mean': 1.0}"), "returns 1, mean, but declares mean"),
    "labels that it sets": (probe(line="y.zero_()"), "writes to stage.train.y, the data of the run"),
    "pixels that it sets": (probe(line="data.x.zero_()"), "writes to stage.train.x, the data of the run"),
}
"""Probes whose mistake ends a run, and what is said of each."""
HIDDEN = {
    "pixels, unseen by torch": (probe(line="data.x.data.zero_()"), "differ at ['data']['train']['x']"),
    "labels through NumPy": (probe(line="data.y.numpy()[:] = 0"), "differ at ['data']['train']['y']"),
    "test data": (probe(line="learner.stage.test.x.data.zero_()"), "differ at ['data']['test']['x']"),
    "the method's state": (probe(line="learner._method.batch_norm = 'reset'"), "a probe changes a run"),
    "Python's generator": (probe("{'mean': random.random()}"), "two runs with the same seed and mine"),
    "a count": (
        probe("{'mean': COUNT[0] + 0.0}", "COUNT[0] += learner.stage.index"),
        "two runs with the same seed and mine",
    ),
}
"""Probes whose mistake only a law finds, and what it says."""

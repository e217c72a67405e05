"""A setting of a task that nothing would read is refused instead of giving another id to the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.commands import small_run

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry

TASK = '''"""A task of a test."""
from dataclasses import dataclass

import torch
from torch import nn

from plastibench.api import ImageTask, RandomCrop, Stage, in_memory_splits, load_digits


@dataclass(frozen=True, kw_only=True)
class Own(ImageTask):
    """Digits in chunks of 40."""

    default_architecture = "small_resnet"
    shape = (1, 8, 8)
    num_classes = 10
    standard_recipe = {{"batch_size": 32, "max_epochs": 1}}
    {takes}

    def load(self, context):
        return self.preprocess(load_digits(), context)

    def stream(self, seed, context):
        {stream}

    def _stages(self, context):
        whole = self.load(context)
        for index in range(self.num_stages()):
            chunks = (40,) * (index + 1)
            train = whole.train[: sum(chunks)]
            rest = {{"validation": None, "test": whole.test, "checksum": whole.checksum}}
            yield Stage(index=index, train=train, chunks=chunks, **rest)
'''
WRAPS = "return super().stream(seed, context)"
HELPER = "return self._stages(context)"
READS = "assert self.regime\n        assert self.num_stages() < 99\n        return self._stages(context)"
NUM = "assert self.num_stages()\n        return self._stages(context)"


def write(folder: Path, stream: str, takes: str = "", more: str = "") -> Path:
    file = folder / "own.py"
    file.write_text(TASK.format(stream=stream, takes=takes) + more, encoding="utf-8")
    return file


def specs(file: Path, models: Any = (), **settings: str) -> int:
    grid = Grid(tasks=("own",), methods=("warm",), models=models, settings=settings, seeds=(0,))
    return len(grid.specs(Registry((file,))))


@pytest.mark.parametrize(
    ("stream", "takes", "refused"),
    [
        (WRAPS, "", set()),
        (HELPER, "", {"stages", "regime", "max_stages", "train_size", "validation"}),
        (READS, "", {"train_size", "validation"}),
        (NUM, "", {"regime", "train_size", "validation"}),
        (HELPER, 'takes = ("stages", "train_size")', {"regime", "max_stages", "validation"}),
    ],
)
def test_a_setting_that_the_stream_does_not_read_is_refused(
    tmp_path: Path, stream: str, takes: str, refused: set[str]
) -> None:
    file = write(tmp_path, stream, takes)
    values = {"stages": "3", "regime": "discard", "max_stages": "2", "train_size": "100", "validation": "0.1"}
    for name, value in values.items():
        if name in refused:
            with pytest.raises(
                RequestError, match=rf"^{name}=.* means nothing for Own, whose stream does not"
            ):
                specs(file, **{name: value})
        else:
            assert specs(file, **{name: value}) == 1
    assert specs(file) == 1


def test_a_regime_and_its_setting_are_refused_on_the_command_line(tmp_path: Path) -> None:
    words = ("--plugin", write(tmp_path, NUM), "--task", "own", "--method", "warm")
    sizes = ("--set", "regime=buffer", "--set", "buffer=7")
    done = small_run(tmp_path / "home", *words, *sizes)
    assert done.status == 2
    assert "regime=Buffer(buffer=7) means nothing for Own, whose stream does not read regime" in done.err
    assert not (tmp_path / "home" / "runs").exists()


def test_a_model_that_the_task_does_not_build_is_refused(tmp_path: Path) -> None:
    head = "\n    def model(self, activation=None, norm=None):\n        "
    own = f"{head}return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    wrapped = f"{head}return nn.Sequential(super().model(activation, norm))\n"
    file = write(tmp_path, WRAPS, more=own)
    assert specs(file) == 1
    with pytest.raises(
        RequestError, match="model=mlp_bn means nothing for Own, which builds a model of its own"
    ):
        specs(file, models=("mlp_bn",))
    with pytest.raises(RequestError, match="no setting of own with small_resnet named 'width'"):
        specs(file, width="8")
    file = write(tmp_path, WRAPS, more=wrapped)
    assert specs(file, models=("mlp_bn",), width="8") == 1


def test_an_augmentation_that_the_task_does_not_have_is_refused(tmp_path: Path) -> None:
    through_a_helper = "\n    def load(self, context):\n        return self._decode(context)\n"
    through_a_helper += (
        "\n    def _decode(self, context):\n        return self.preprocess(load_digits(), context)\n"
    )
    words = ("--task", "own", "--method", "warm", "--set", "augment=true")
    for more in ("", through_a_helper, BARE):
        refused = small_run(tmp_path / "home", "--plugin", write(tmp_path, WRAPS, more=more), *words)
        assert refused.status == 2
        assert refused.lines()[-1].endswith("augment=true means nothing for Own: it has no augmentation")
    file = write(tmp_path, WRAPS, "augmentation = RandomCrop(padding=1)")
    assert small_run(tmp_path / "home", "--plugin", file, *words).status == 0


BARE = """
    def load(self, context):
        train, test = load_digits()
        return in_memory_splits("own", train, test, context.device.torch_device)
"""


def test_a_normalization_that_the_task_does_not_read_is_refused(tmp_path: Path) -> None:
    usual = "return self.preprocess(load_digits(), context)"
    source = write(tmp_path, WRAPS).read_text()
    decode = "\n\ndef decode(task, context):\n    return task.preprocess(load_digits(), context)\n"
    for load, is_read in (
        ("return in_memory_splits('own', *load_digits(), context.device.torch_device)", False),
        (usual, True),
        ("return super().load(context) if self.recipe.normalize else load_digits()", True),
        ("return decode(self, context)", True),
    ):
        (tmp_path / "own.py").write_text(source.replace(usual, load) + decode * ("decode" in load))
        assert specs(tmp_path / "own.py") == 1
        if is_read:
            assert specs(tmp_path / "own.py", normalize="false") == 1
            continue
        with pytest.raises(
            RequestError, match=r"^normalize=false means nothing for Own, whose code does not"
        ):
            specs(tmp_path / "own.py", normalize="false")


def test_a_stream_and_a_model_may_be_made_by_helpers(tmp_path: Path) -> None:
    stream = "\n    def _stages(self, context):\n        return ImageTask.stream(self, 0, context)\n"
    assert specs(write(tmp_path, HELPER, more=stream), stages="3", regime="discard") == 1
    model = "\n    def model(self, activation=None, norm=None):\n        return make(self)\n"
    make = "\n\ndef make(task):\n    return task.architecture\n"
    assert specs(write(tmp_path, WRAPS, more=model + make), models=("mlp_bn",)) == 1


def test_a_stream_of_another_length_than_declared_fails(tmp_path: Path) -> None:
    short = write(tmp_path, "yield from list(super().stream(seed, context))[:1]")
    done = small_run(tmp_path / "home", "--plugin", short, "--task", "own", "--method", "warm")
    assert done.status == 1
    assert "the stream of Own has 1 stage, but its num_stages() is 2" in done.err

"""Data sets of one shape in folders, and tasks that read them: a shipped one, and plug-ins with a file."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

READS_A_FILE = '''"""A task of a test, which reads a file of its own."""
from dataclasses import dataclass

import torch

from plastibench.api import DataContext, DatasetSplits, ImageTask, LabeledImages


@dataclass(frozen=True, kw_only=True)
class Mytask(ImageTask):
    """Four classes of small gray images."""

    shape = (1, 8, 8)
    num_classes = 4

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set of the file."""
        x = torch.load(context.data / "mine.pt")
        y = torch.arange(len(x)) % 4
        return self.preprocess((LabeledImages(x[20:], y[20:]), LabeledImages(x[:20], y[:20])), context)
'''
OWN_STREAM = (
    READS_A_FILE.replace(
        'torch.load(context.data / "mine.pt")', "torch.arange(150 * 64).byte().view(150, 1, 8, 8)"
    )
    + '''
    def stream(self, seed, context):
        """Yield the stages with noise from a file, and claim that the data are always the same."""
        from dataclasses import replace

        noise = torch.load(context.data / "mine.pt")
        for stage in super().stream(seed, context):
            noisy = replace(stage.train, x=stage.train.x ^ noise[: len(stage.train)])
            yield replace(stage, train=noisy, checksum="always the same")
'''
)
SHORT = (
    "--model",
    "small_resnet",
    *(w for s in ("stages=2", "max_epochs=1", "width=4") for w in ("--set", s)),
)
TASKS: dict[str, tuple[object, ...]] = {
    "imagenet": ("--task", "imagenet", "--set", "classes=8", "--set", "resolution=32", *SHORT),
    "file": ("--task", "mytask", *SHORT),
    "own stream": ("--task", "mytask", *SHORT),
}
"""Words that name a task whose data lie in a folder of `data_folder`, without its plug-in."""


def words_for(task: str, folder: Path) -> tuple[object, ...]:
    """Return the words that name one of the `TASKS`; its plug-in is written into `folder`."""
    if task == "imagenet":
        return TASKS[task]
    path = folder / "mytask.py"
    path.write_text(READS_A_FILE if task == "file" else OWN_STREAM, encoding="utf-8")
    return (*TASKS[task], "--plugin", path)


def data_folder(folder: Path, seed: int) -> Path:
    """Write the data of all `TASKS` into a folder; the seed decides the pixels, and nothing else."""
    numbers = torch.Generator().manual_seed(seed)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=numbers)

    folder.mkdir()
    torch.save(pixels(150, 1, 8, 8), folder / "mine.pt")
    for part, count in (("train", 8), ("val", 2)):
        for label in range(8):
            classes = folder / "imagenet" / part / f"n{label}"
            classes.mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(pixels(32, 32, 3).numpy())
                image.save(classes / f"{number}.png", compress_level=0)
    return folder

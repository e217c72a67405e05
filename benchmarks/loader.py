"""Measure how fast images are read, decoded and augmented, by the number of processes that do it.

    python benchmarks/loader.py /tmp/loader --images 10000 --rate 3000

Writes JPEGs of 500x375 pixels (about 110 kB, the mean of ImageNet's) into the folder unless they are there,
and takes epochs over them as training at 224 pixels does, without a model. With 0 processes images are
decoded in this one, and a second is one of its processor: that means something on a busy machine, too. With
more it is one of the clock, from the first batch on. The last lines say how many cores feed 8 devices that
train on `--rate` images a second each, if cores are as fast as these and files come as fast as from here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from PIL import Image

from plastibench.data.dataset import Dataset
from plastibench.data.decoded_cache import Pixels
from plastibench.data.imagenet import open_imagenet
from plastibench.data.streaming import WORKERS_VARIABLE

WIDTH, HEIGHT, QUALITY, ROUGHNESS = 500, 375, 93, 1.05
SIZE, CLASSES, DEVICES = 224, 10, 8
SCENES = 40
"""Pictures of which the files are parts and mirror images: making each anew would take an hour."""


def picture(seed: int) -> Pixels:
    """Return a picture (height, width, 3) with detail at every scale, as photographs have it."""
    random, total = np.random.default_rng(seed), np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for octave in range(1, 9):
        shape = max(2, HEIGHT >> (8 - octave)), max(2, WIDTH >> (8 - octave))
        for channel in range(3):
            noise = Image.fromarray(random.standard_normal(shape).astype(np.float32))
            total[..., channel] += ROUGHNESS**octave * np.asarray(noise.resize((WIDTH, HEIGHT)))
    low, high = total.min(), total.max()
    scaled: Pixels = ((total - low) / (high - low) * 255).astype(np.uint8)
    return scaled


def write_images(folder: Path, num_images: int) -> float:
    """Write train images and one val image a class unless all are there; return their mean size in kB."""
    names = [f"train/n{number % CLASSES:08d}/{number}.JPEG" for number in range(num_images)]
    names += [f"val/n{number:08d}/{number}.JPEG" for number in range(CLASSES)]
    missing = [(number, folder / name) for number, name in enumerate(names) if not (folder / name).exists()]
    scenes = [picture(seed) for seed in range(min(SCENES, len(missing)))]
    for number, path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = np.roll(scenes[number % len(scenes)], (number * 7, number * 13), axis=(0, 1))
        Image.fromarray(scene[:, :: -1 if number % 2 else 1].copy()).save(path, quality=QUALITY)
    return sum((folder / name).stat().st_size for name in names) / len(names) / 1000


def rate(data: Dataset, num_images: int, batch_size: int, *, alone: bool) -> float:
    """Return images a second over one augmented epoch of so many images, from the second batch on."""
    clock = process_time if alone else perf_counter
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:num_images]
    batches = data.take(order).batches(batch_size, augment=torch.Generator().manual_seed(1))
    next(batches)
    begun, seen = clock(), 0
    for _, labels in batches:
        seen += len(labels)
    return seen / (clock() - begun)


def counts(most: int) -> Iterator[int]:
    """Yield 0, the powers of two below `most`, and `most`."""
    yield from sorted({0, most, *(2**power for power in range(10) if 2**power < most)})


def main() -> None:
    """Write the images, measure, print a table and what it implies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000, help="files in the folder")
    parser.add_argument("--epoch", type=int, default=4096, help="images of an epoch that is timed")
    parser.add_argument("--batch", type=int, default=256, help="images of a batch")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="at most")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3000, help="images a second of one device in training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = write_images(options.folder, options.images)
    print(f"{options.images} files of {size:.0f} kB, epochs of {options.epoch}, images a second:")
    print("| processes | median | smallest | largest |\n| ---: | ---: | ---: | ---: |")
    medians = {}
    for number in counts(options.processes):
        os.environ[WORKERS_VARIABLE] = str(number)
        data = open_imagenet(options.folder, SIZE, torch.device("cpu"), "subset").train
        sizes = options.epoch, options.batch
        rates = sorted(rate(data, *sizes, alone=number == 0) for _ in range(options.repeats))
        medians[number] = rates[len(rates) // 2]
        print(f"| {number} | {medians[number]:.0f} | {rates[0]:.0f} | {rates[-1]:.0f} |", flush=True)
    wanted = DEVICES * options.rate
    print(
        f"{DEVICES} devices at {options.rate:.0f} images a second take {wanted:.0f}: "
        f"{wanted / medians[0]:.0f} cores as fast as one of these, which read {wanted * size / 1e6:.1f} GB/s"
    )


if __name__ == "__main__":
    main()

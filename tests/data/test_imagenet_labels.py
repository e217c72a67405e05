"""ImageNet as its archives are unpacked: val in one folder, with the official devkit."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from plastibench.data.imagenet import find_imagenet, list_imagenet, open_imagenet
from plastibench.errors import DataError

Jpeg = Callable[..., bytes]
CLASSES = ("n03", "n01", "n02")
"""In the order of the devkit's numbers, which is not that of their names."""
TRUTH = (2, 3, 1, 1, 3)
"""The number of each val image's class, from 1."""
CPU = torch.device("cpu")


def write_devkit(folder: Path) -> Path:
    """Write a devkit with fields of the official one, an inner node of the tree among its synsets."""
    names = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    synsets = np.zeros((len(CLASSES) + 1, 1), dtype=[(name, object) for name in names])
    for number, wnid in enumerate((*CLASSES, "n99"), start=1):
        inner = wnid == "n99"
        children = np.arange(3.0) if inner else np.zeros((0,))
        synsets[number - 1, 0] = (
            float(number),
            wnid,
            "a word",
            "a gloss",
            3.0 * inner,
            children,
            1.0 * inner,
        )
    devkit = folder / "ILSVRC2012_devkit_t12"
    (devkit / "data").mkdir(parents=True)
    savemat(devkit / "data/meta.mat", {"synsets": synsets})
    lines = "".join(f"{number}\n" for number in TRUTH)
    (devkit / "data/ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    return devkit


@pytest.fixture
def root(tmp_path: Path, jpeg: Jpeg) -> Path:
    """An ImageNet of three classes as its archives are unpacked."""
    root = tmp_path / "imagenet"
    for position, wnid in enumerate(CLASSES):
        (root / "train" / wnid).mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_7.JPEG").write_bytes(jpeg(position, (20, 20)))
    (root / "val").mkdir()
    for position in range(len(TRUTH)):
        (root / f"val/ILSVRC2012_val_{position + 1:08d}.JPEG").write_bytes(jpeg(50 + position, (20, 20)))
    return root


def labels(root: Path) -> dict[str, int]:
    files = list_imagenet(root, "subset").test
    return dict(zip(files.names, files.labels.tolist(), strict=True))


def test_classes_of_flat_images_are_those_of_the_devkit(root: Path) -> None:
    devkit = write_devkit(root)
    unpacked = labels(root)
    assert [unpacked[f"val/ILSVRC2012_val_{number:08d}.JPEG"] for number in range(1, 6)] == [0, 1, 2, 2, 1]
    with tarfile.open(root.parent / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.add(devkit, devkit.name)
    shutil.rmtree(devkit)
    assert labels(root) == unpacked  # packed, and beside the folder of ImageNet


def test_a_damaged_devkit_is_named(root: Path) -> None:
    devkit = write_devkit(root)
    (devkit / "data/meta.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"devkit_t12 is not a complete devkit .*; get it again"):
        list_imagenet(root, "subset")
    shutil.rmtree(devkit)
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"tar\.gz is not a complete devkit"):
        list_imagenet(root, "subset")


def test_a_devkit_that_lacks_an_image_is_named(root: Path, jpeg: Jpeg) -> None:
    write_devkit(root)
    (root / "val/ILSVRC2012_val_00000006.JPEG").write_bytes(jpeg(1))
    with pytest.raises(DataError, match=r"devkit_t12 has no class for ILSVRC2012_val_00000006\.JPEG"):
        list_imagenet(root, "subset")


def test_flat_images_without_a_list_say_the_way_out(root: Path) -> None:
    with pytest.raises(DataError, match=r"no class folders; put ILSVRC2012_devkit_t12\.tar\.gz .* beside it"):
        open_imagenet(root.parent, 16, CPU, "subset")


def test_archives_that_are_not_unpacked_are_named(root: Path) -> None:
    write_devkit(root)
    for wnid in CLASSES:
        shutil.rmtree(root / "train" / wnid)
        (root / "train" / f"{wnid}.tar").touch()
    for edition in ("official", "subset"):
        with pytest.raises(DataError, match=r"n01\.tar is the archive of a class: unpack each of the 3 into"):
            list_imagenet(root, edition)
    shutil.rmtree(root / "train")
    (root / "ILSVRC2012_img_train.tar").touch()
    with pytest.raises(DataError, match=r"unpack .*ILSVRC2012_img_train\.tar and what is in it"):
        find_imagenet(root.parent, "official")

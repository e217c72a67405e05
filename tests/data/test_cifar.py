"""CIFAR from files made here in the true format, and the real CIFAR-10."""

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
from support.damage import NOWHERE, Damage, damages, md5, truncated

from plastibench.data.cifar import (
    CIFAR10,
    CIFAR100,
    CifarFiles,
    decode_batches,
    load_cifar,
    load_cifar10,
    read_members,
)
from plastibench.data.images import checksum
from plastibench.errors import DataError, RequestError

Write = Callable[[Path, dict[str, bytes]], Path]


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
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)  # the same bytes at any time


@pytest.fixture
def batches() -> dict[str, bytes]:
    names = (*CIFAR10.train, *CIFAR10.test)
    return {name: batch(seed, 3, "labels") for seed, name in enumerate(names)}


@pytest.fixture
def small(batches: dict[str, bytes]) -> CifarFiles:
    """The files of CIFAR-10 with the checksums of the small files."""
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    known = {name: md5(content) for name, content in batches.items()}
    return replace(
        CIFAR10,
        archive=replace(CIFAR10.archive, urls=(NOWHERE,), digest=f"md5:{md5(archive)}"),
        editions={"official": known, "restored": known | {"test_batch": md5(b"other")}},
    )


def test_cifar_archive_and_folder_agree(
    small: CifarFiles, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    from_tar = load_cifar(small, write(tmp_path / "a", {small.archive.name: archive}), "official")
    write(tmp_path / "b" / CIFAR10.folder, batches)
    assert load_cifar(small, tmp_path / "a", "official")[0] is from_tar[0], "decoded once"
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


def test_cifar_is_the_same_however_it_is_unpacked(
    small: CifarFiles, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    packed = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    left = {".DS_Store": b"", "._data_batch_1": b"", "batches.meta": b"", "readme.html": b""}
    folders = [
        write(tmp_path / "archive", {small.archive.name: packed}),
        write(tmp_path / "tar", {"cifar-10-python.tar": gzip.decompress(packed)}),
        write(tmp_path / "torchvision" / CIFAR10.folder, batches | left).parent,
        write(tmp_path / "kaggle/cifar-10-python" / CIFAR10.folder, batches | left).parent.parent,
        write(tmp_path / "itself", batches | left),
    ]
    assert len({checksum(*load_cifar(small, data, "official")) for data in folders}) == 1
    batches["data_batch_2"] = batches["data_batch_1"]
    altered = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    (tmp_path / "tar/cifar-10-python.tar").write_bytes(gzip.decompress(altered))
    with pytest.raises(DataError, match=r"python\.tar, data_batch_2 are not the official files"):
        load_cifar(small, tmp_path / "tar", "official")


@damages
def test_damaged_cifar_is_refused(
    small: CifarFiles, batches: dict[str, bytes], tmp_path: Path, write: Write, damage: Damage
) -> None:
    archive = tar({f"{CIFAR10.folder}/{name}": content for name, content in batches.items()})
    with pytest.raises(DataError, match="truncated or altered"):
        load_cifar(small, write(tmp_path / "a", {small.archive.name: damage(archive)}), "official")
    batches["data_batch_3"] = damage(batches["data_batch_3"])
    write(tmp_path / "b" / CIFAR10.folder, batches)
    with pytest.raises(DataError, match="data_batch_3 are not the official files of CIFAR-10"):
        load_cifar(small, tmp_path / "b", "official")


def test_edition_of_the_files_is_named(
    small: CifarFiles, batches: dict[str, bytes], tmp_path: Path, write: Write
) -> None:
    write(tmp_path / CIFAR10.folder, batches)
    with pytest.raises(DataError, match="are edition 'official' of CIFAR-10, not 'restored'"):
        load_cifar(small, tmp_path, "restored")
    with pytest.raises(RequestError, match="did you mean 'official'"):
        load_cifar(small, tmp_path, "oficial")
    with pytest.raises(DataError, match="ask for edition 'official', which is downloaded"):
        load_cifar(small, tmp_path / "empty", "restored")


def test_incomplete_folder_is_refused(
    small: CifarFiles, batches: dict[str, bytes], tmp_path: Path, write: Write
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
    with pytest.raises(DataError, match="is not a complete tar archive"):
        read_members(tmp_path / "set.tar.gz", {"wanted": "wanted"})


@pytest.mark.heavy
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

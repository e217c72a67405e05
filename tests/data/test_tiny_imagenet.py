"""Tiny-ImageNet from its folder and from its archive, its cache, and the real subset."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.damage import md5

from plastibench.data.image_files import ZipSource, decode_image
from plastibench.data.tiny_imagenet import FOLDERS, TINY_IMAGENET, load_tiny_imagenet
from plastibench.errors import DataError, RequestError

Write = Callable[[Path, dict[str, bytes]], Path]
Files = dict[str, bytes]


def zipped(files: Files, root: str = "tiny-imagenet-200/") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(root + name, content)
    return stream.getvalue()


@pytest.fixture
def data(tmp_path: Path, tiny_files: Files, write: Write) -> Path:
    """A data folder with the two classes, unpacked."""
    write(tmp_path / "tiny-imagenet-200", tiny_files)
    return tmp_path


def test_folder(data: Path, tiny_files: Files, tmp_path: Path) -> None:
    train, test = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    assert train.x.shape == (1000, 3, 64, 64)
    # Classes are numbered by name, not by their place in wnids.txt.
    assert torch.equal(train.y, torch.arange(2).repeat_interleave(500))
    assert torch.equal(test.y, torch.arange(2).repeat_interleave(50))
    names = sorted(name for name in tiny_files if name.startswith("train/n01/images/"))
    for at in (0, names.index("train/n01/images/n01_7.JPEG")):
        expected = np.asarray(Image.open(io.BytesIO(tiny_files[names[at]])).convert("RGB"))
        assert np.array_equal(train.x[at].permute(1, 2, 0).numpy(), expected)
    gray = train.x[names.index("train/n01/images/n01_7.JPEG")]
    assert torch.equal(gray[0], gray[2])


@pytest.mark.heavy
def test_archive_is_read_as_downloaded(tmp_path: Path, tiny_files: Files, data: Path) -> None:
    content = zipped(tiny_files)
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip" / "tiny-imagenet-200.zip").write_bytes(content)
    archive = replace(TINY_IMAGENET, digest=f"md5:{md5(content)}")
    from_zip = load_tiny_imagenet(
        tmp_path / "zip", tmp_path / "cache", "official", archive=archive, num_classes=2
    )
    from_folder = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    for one, other in zip(from_zip, from_folder, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
    assert [path.name for path in (tmp_path / "zip").iterdir()] == ["tiny-imagenet-200.zip"]


@pytest.mark.parametrize("end", [-1, -100])
def test_damaged_archive_is_refused(tmp_path: Path, tiny_files: Files, end: int) -> None:
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(zipped(tiny_files)[:end])
    with pytest.raises(DataError, match="truncated or altered: its md5 is"):
        load_tiny_imagenet(tmp_path, tmp_path / "cache", "official")


def test_zip_reader_refuses_damage_by_itself(tmp_path: Path, tiny_files: Files) -> None:
    content = zipped({"one": tiny_files["train/n01/images/n01_1.JPEG"]}, "")
    path = tmp_path / "a.zip"
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(DataError, match=r"one in .* cannot be read: Bad CRC-32"):
        ZipSource(path, "").read("one")
    path.write_bytes(content[:-30])
    with pytest.raises(DataError, match="is not a complete zip file"):
        ZipSource(path, "")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_zip_member_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({name: b""}, ""))
    with pytest.raises(DataError, match="which no image archive has"):
        ZipSource(tmp_path / "a.zip", "")


@pytest.mark.heavy
def test_cache_is_used_and_verified(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before, _ = load_tiny_imagenet(data, cache, "subset")
    [store] = cache.iterdir()
    os.utime(store / "images.u8", (1, 1))
    again, _ = load_tiny_imagenet(data, cache, "subset")
    assert (store / "images.u8").stat().st_mtime == 1
    assert torch.equal(before.x, again.x)
    pixels = bytearray((store / "images.u8").read_bytes())
    pixels[1_000_000] ^= 1
    for damaged in (pixels, pixels[:-5]):
        (store / "images.u8").write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged"):
            load_tiny_imagenet(data, cache, "subset")


@pytest.mark.heavy
def test_changed_folder_is_decoded_again(data: Path, tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    before, _ = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    path = data / "tiny-imagenet-200/train/n01/images/n01_0.JPEG"
    size = path.stat().st_size
    # Of the same size, so that only the time tells; what follows a JPEG's end is not read.
    other = next(made for made in map(jpeg, range(20, 90)) if len(made) <= size)
    path.write_bytes(other.ljust(size, b"\0"))
    after, _ = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    assert not torch.equal(before.x[0], after.x[0])
    assert torch.equal(before.x[1:], after.x[1:])


def test_truncated_image_is_refused_and_no_cache_is_left(data: Path, tmp_path: Path) -> None:
    path = data / "tiny-imagenet-200/train/n02/images/n02_3.JPEG"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"n02_3\.JPEG in .* is not a complete image"):
        load_tiny_imagenet(data, tmp_path / "cache", "subset")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".part"]


def test_image_of_another_size_is_refused(data: Path, tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    (data / "tiny-imagenet-200/val/images/val_0.JPEG").write_bytes(jpeg(0, (64, 65)))
    with pytest.raises(DataError, match=r"val_0\.JPEG in .* is 64 x 65 pixels"):
        load_tiny_imagenet(data, tmp_path / "cache", "subset")


@pytest.mark.parametrize("name", ["train/n01/images/n01_4.JPEG", "val/images/val_3.JPEG"])
def test_missing_image_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    (data / "tiny-imagenet-200" / name).unlink()
    with pytest.raises(DataError, match=r"has (499|49) images in .*, and Tiny-ImageNet has (500|50);"):
        load_tiny_imagenet(data, tmp_path / "cache", "subset")


def test_subset_is_not_the_official_set(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 2 classes, and Tiny-ImageNet has 200; ask for edition 'subset'"):
        load_tiny_imagenet(data, tmp_path / "cache", "official")
    (data / "tiny-imagenet-200/wnids.txt").write_text("n01\n")
    with pytest.raises(DataError, match="has 1 class; at least 2 are needed"):
        load_tiny_imagenet(data, tmp_path / "cache", "subset")
    with pytest.raises(DataError, match="there is no Tiny-ImageNet folder"):
        load_tiny_imagenet(data / "elsewhere", tmp_path / "cache", "subset")
    with pytest.raises(RequestError, match="no edition of Tiny-ImageNet named 'half'"):
        load_tiny_imagenet(data, tmp_path / "cache", "half")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_jpeg_becomes_rgb(jpeg: Callable[..., bytes], mode: str) -> None:
    assert decode_image(jpeg(0, (5, 7), mode), "a").mode == "RGB"


@pytest.mark.heavy
def test_real_subset(real_data: Path, tmp_path: Path) -> None:
    train, test = load_tiny_imagenet(real_data, tmp_path, "subset")
    num_classes = int(train.y.max()) + 1
    assert torch.bincount(train.y).tolist() == [500] * num_classes
    assert torch.bincount(test.y).tolist() == [50] * num_classes
    [root] = [real_data / name for name in FOLDERS["subset"] if (real_data / name / "wnids.txt").is_file()]
    wnid = sorted((root / "wnids.txt").read_text().split())[3]
    first = sorted((root / "train" / wnid / "images").iterdir())[0]
    with Image.open(first) as image:
        assert np.array_equal(train.x[1500].permute(1, 2, 0).numpy(), np.asarray(image.convert("RGB")))


@pytest.mark.heavy
def test_images_that_were_copied_into_class_folders_may_stay_where_they_were(
    data: Path, tmp_path: Path
) -> None:
    _, before = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    val = data / "tiny-imagenet-200/val"
    for line in (val / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split()[:2]
        (val / wnid).mkdir(exist_ok=True)
        (val / wnid / name).write_bytes((val / "images" / name).read_bytes())
    (val / "val_annotations.txt").unlink()
    _, after = load_tiny_imagenet(data, tmp_path / "cache", "subset")
    assert torch.equal(before.x, after.x)
    assert torch.equal(before.y, after.y)

"""One decoded data set is kept for the next run, as long as its files and tensors are as they were."""

from __future__ import annotations

import gc
import io
import weakref
from pathlib import Path

import pytest
import torch
from PIL import Image

from plastibench.data.image_folder import load_image_folder
from plastibench.data.images import LabeledImages, checksum

Parts = tuple[LabeledImages, LabeledImages]


def write(path: Path, color: int) -> None:
    """Write an image of one color."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (color, color, color)).save(stream, "bmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two classes of three images."""
    for place in range(6):
        write(tmp_path / "mine" / "ab"[place % 2] / f"{place}.bmp", 10 * place)
    return tmp_path / "mine"


def load(folder: Path) -> Parts:
    return load_image_folder(str(folder), folder.parent / "cache", 8, 0.4)


def colors(parts: Parts) -> list[int]:
    return sorted(color for part in parts for color in part.x[:, 0, 0, 0].tolist())


def test_the_same_files_are_decoded_once(folder: Path) -> None:
    first = load(folder)
    assert [part.x.data_ptr() for part in load(folder)] == [part.x.data_ptr() for part in first]


def test_changed_files_are_decoded_again_at_the_same_size_and_name(folder: Path) -> None:
    assert colors(load(folder)) == [0, 10, 20, 30, 40, 50]
    write(folder / "a" / "0.bmp", 99)
    assert colors(load(folder)) == [10, 20, 30, 40, 50, 99]
    (folder / "a" / "0.bmp").unlink()
    assert colors(load(folder)) == [10, 20, 30, 40, 50]


def test_what_somebody_has_written_to_is_decoded_again(folder: Path) -> None:
    train, test = load(folder)
    before = checksum(train, test)
    train.x[1:].fill_(7)  # through a view, as a run's data are
    assert checksum(train, test) != before
    again = load(folder)
    assert again[0].x is not train.x
    assert checksum(*again) == before
    again[1].y.add_(1)
    assert checksum(*load(folder)) == before


def test_one_data_set_is_kept(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for place in range(4):
        write(other / "ab"[place % 2] / f"{place}.bmp", place)
    first = load(folder)[0]
    watched = weakref.ref(first)
    del first
    assert watched() is not None
    load(other)
    gc.collect()
    assert watched() is None


def test_the_checksum_depends_on_all_parts() -> None:
    one, two = (LabeledImages(torch.full((2, 1, 2, 2), n).byte(), torch.tensor([0, 1])) for n in (1, 2))
    assert len({checksum(one), checksum(two), checksum(one, two), checksum(two, one)}) == 4
    assert checksum(one, two) == checksum(one, two)

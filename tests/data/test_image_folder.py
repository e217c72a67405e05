"""Folders of the user's own images: layouts, the test part, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plastibench.data.image_folder import list_classes, load_image_folder
from plastibench.errors import DataError, RequestError


def image(color: int, size: tuple[int, int] = (20, 12), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, color if mode == "L" else (color, 0, 255 - color)).save(stream, "png")
    return stream.getvalue()


def write(folder: Path, *names: str) -> Path:
    """Write an image of its own color under each name, and the files of editors and systems beside them."""
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(place))
        (path.parent / ".DS_Store").write_bytes(b"x")
        (path.parent / "notes.txt").write_text("no image")
    (folder / ".ipynb_checkpoints").mkdir()
    return folder


def load(folder: Path, share: float | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (color, label) of the training and of the test images."""
    train, test = load_image_folder(str(folder), folder.parent / "cache", 8, share)
    assert train.x.shape[1:] == (3, 8, 8)
    found = [list(zip(part.x[:, 0, 4, 4].tolist(), part.y.tolist(), strict=True)) for part in (train, test)]
    return found[0], found[1]


def error(folder: Path, share: float | None = None) -> str:
    with pytest.raises(RequestError) as found:
        load(folder, share)
    message = str(found.value).replace(str(folder.parent), "HERE")
    assert "\n" not in message
    assert "--data" not in message
    return message


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "b/1.png", "a/2.png", "b/3.jpg.png", "a/1.png")
    assert list_classes(str(folder)) == ("a", "b")
    train, test = load(folder, 0.01)
    assert (train, test) == ([(3, 0), (1, 0), (0, 1), (2, 1)], [])


@pytest.mark.parametrize(
    ("parts", "expected"), [(("test",), [(2, 1)]), (("val",), [(2, 1)]), (("val", "test"), [(3, 0)])]
)
def test_a_test_part_is_used_if_there_is_one(
    tmp_path: Path, parts: tuple[str, ...], expected: list[tuple[int, int]]
) -> None:
    names = ["train/a/1.png", "train/b/1.png", f"{parts[0]}/b/1.png"]
    folder = write(tmp_path / "mine", *names, *[f"{part}/a/1.png" for part in parts[1:]])
    assert load(folder) == ([(0, 0), (1, 1)], expected)


def test_without_a_test_part_a_fifth_of_each_class_is_always_the_same(tmp_path: Path) -> None:
    names = [
        f"{label}/{number:02}.png"
        for label, size in (("a", 20), ("b", 10), ("c", 1))
        for number in range(size)
    ]
    first, again = (load(write(tmp_path / name / "mine", *names)) for name in ("one", "two"))
    assert first == again
    labels = [
        torch.bincount(torch.tensor([label for _, label in part]), minlength=3).tolist() for part in first
    ]
    assert labels == [[16, 8, 1], [4, 2, 0]]
    inside = load(write(tmp_path / "three" / "mine", *[f"train/{name}" for name in names]))
    assert inside == first
    assert len(load(tmp_path / "one" / "mine", 0.5)[1]) == 15


def test_an_image_is_its_central_square_in_color(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "a/1.png", "b/1.png")
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200
    Image.fromarray(pixels).save(folder / "a" / "1.png")
    train, _ = load_image_folder(str(folder), tmp_path / "cache", 8, 0.01)
    assert (train.x[0] == 200).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.png",), "HERE/mine has 1 class: it needs a folder of images for each of 2 classes or more"),
        (("a/1.png", "b/1.png", "1.png"), "HERE/mine/1.png lies in no folder of a class"),
        (("a/1.png", "b/in/1.png"), "HERE/mine/b has no images: remove it if it is no class"),
        (("a/1.png", "b/1.png", "test/a/1.png"), "HERE/mine has a folder 'test' but no folder 'train'"),
        (
            ("train/a/1.png", "train/b/1.png", "val/c/1.png"),
            "HERE/mine/val/c is a class that HERE/mine/train does",
        ),
    ],
)
def test_folders_that_are_no_classes_are_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    assert message in error(write(tmp_path / "mine", *names))


def test_a_damaged_image_and_a_folder_that_is_not_there_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "a/1.png", "b/1.png")
    noise = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(noise, "png")
    (folder / "b" / "1.png").write_bytes(noise.getvalue()[: len(noise.getvalue()) // 2])
    assert "1 of 2 images cannot be decoded: b/1.png (not a complete image" in error(folder)
    for name in ("a/2.png", "b/1.png", "b/2.png"):
        (folder / name).write_bytes(b"")
    said = error(folder)
    assert "3 of 4 images cannot be decoded: a/2.png (not an image but an empty file), b/1.png (" in said
    assert said.endswith(" in HERE/mine; replace them, or move them out of the folder")
    for name in ("a/2.png", "b/2.png"):
        (folder / name).unlink()
    (folder / "b" / "1.png").write_bytes(image(1))
    assert len(load(folder, 0.01)[0]) == 2
    assert "there is no folder HERE/none" in error(tmp_path / "none")


def test_a_share_means_nothing_beside_a_test_part(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "train/a/1.png", "train/b/1.png", "test/b/1.png")
    assert error(folder, 0.5) == "test_share=0.5 means nothing: the test images are in HERE/mine/test"


def test_images_are_decoded_once_until_they_change(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "a/1.png", "b/1.png")
    load(folder)
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert load(folder)[0] == [(0, 0), (1, 1)]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == entries
    (folder / "b" / "1.png").write_bytes(image(77))
    assert load(folder)[0] == [(0, 0), (77, 1)]


@pytest.mark.heavy
def test_a_real_folder_of_images(tmp_path: Path, real_data: Path) -> None:
    train, test = load_image_folder(str(real_data / "imagenet-sample"), tmp_path / "cache", 16, None)
    assert int(train.y.max()) == int(test.y.max()) == 15
    assert 0.2 < float(train.x.float().mean()) / 255 < 0.8


def test_a_missing_folder_of_a_published_board_is_named_with_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"`python benchmarks/image_folders.py --data DIR --download` makes"):
        list_classes("cifar10-images")
    with pytest.raises(DataError, match=r"is looked for in the current folder$"):
        list_classes("mine")

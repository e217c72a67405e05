"""The same data in the layouts that people have them in, among files that systems and editors leave."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plastibench.data.image_files import FolderSource, ImageListing, decode_image
from plastibench.data.imagenet import find_imagenet, load_imagenet_packed, open_imagenet
from plastibench.data.images import checksum
from plastibench.data.tiny_imagenet import list_tiny_imagenet, load_tiny_imagenet
from plastibench.errors import DataError

Jpeg = Callable[..., bytes]
Write = Callable[[Path, dict[str, bytes]], Path]
CPU = torch.device("cpu")
WNIDS = ("n01440764", "n01443537", "n01484850")

LEFT_BEHIND = (
    *(".DS_Store", "._n01440764", "Thumbs.db", "desktop.ini", ".nfs0001"),
    *(
        ".ipynb_checkpoints/x-checkpoint.JPEG",
        "lost+found/x.JPEG",
        "__MACOSX/._x.JPEG",
        ".git/HEAD",
        "@eaDir/x.JPEG",
    ),
    *("$RECYCLE.BIN/x.JPEG", "System Volume Information/x.JPEG", ".Trash-1000/x.JPEG", "#recycle/x.JPEG"),
    *("@eaDir/y.JPEG/SYNOFILE_THUMB_M.jpg", "__pycache__/a.pyc"),
    *("Network Trash Folder/x.JPEG", "Temporary Items/x.JPEG", "CVS/Root"),
)


def clutter(folder: Path, content: bytes) -> None:
    """Put the files of editors and systems into a folder and into each folder in it."""
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        for name in LEFT_BEHIND[:5] if place != folder else LEFT_BEHIND:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        (place / "._ILSVRC2012_val_00000001.JPEG").write_bytes(b"Mac OS X")


@pytest.fixture
def imagenet(tmp_path: Path, jpeg: Jpeg, write: Write) -> Path:
    """A data folder with an ImageNet of three classes in class folders, with the published names."""
    files: dict[str, bytes] = {}
    images = iter(range(1, 100))
    for wnid in WNIDS:
        files |= {f"train/{wnid}/{wnid}_{n}.JPEG": jpeg(next(images), (40, 33)) for n in range(3)}
        files |= {
            f"val/{wnid}/ILSVRC2012_val_{n:08}.JPEG": jpeg(n, (33, 40)) for n in (next(images), next(images))
        }
    write(tmp_path / "data/imagenet", files)
    return tmp_path / "data"


def as_on_kaggle(imagenet: Path) -> Path:
    """Move a data folder's ImageNet into Kaggle's layout."""
    kaggle = imagenet.parent / "kaggle"
    shutil.copytree(imagenet / "imagenet", kaggle / "ILSVRC/Data/CLS-LOC")
    rows = ["ImageId,PredictionString"]
    for path in (kaggle / "ILSVRC/Data/CLS-LOC/val").glob("*/*"):
        rows.append(f"{path.stem},{path.parent.name} 1 2 30 31 {path.parent.name} 3 4 5 6 ")
        path.rename(path.parent.parent / path.name)
    for wnid in WNIDS:
        (kaggle / "ILSVRC/Data/CLS-LOC/val" / wnid).rmdir()
    rows += ["ILSVRC2012_val_00049999,n02105855 1 2 3 4 ", ""]
    (kaggle / "LOC_val_solution.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    return kaggle


def same_imagenet(first: Path, second: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether two data folders give the same checksums and bits, streamed and decoded."""
    monkeypatch.setenv("PLASTIBENCH_DECODERS", "0")
    streamed = [open_imagenet(data, 24, CPU, "subset") for data in (first, second)]
    pixels = [torch.cat([x for x, _ in splits.test.batches(4)]) for splits in streamed]
    labels = [torch.cat([y for _, y in splits.test.batches(4)]) for splits in streamed]
    decoded = [checksum(*load_imagenet_packed(data, cache, 16, "subset")) for data in (first, second)]
    return (
        streamed[0].checksum == streamed[1].checksum
        and torch.equal(*pixels)
        and torch.equal(*labels)
        and decoded[0] == decoded[1]
    )


def test_what_systems_and_editors_leave_is_no_class_and_no_image(
    imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg: Jpeg
) -> None:
    clean = tmp_path / "clean"
    shutil.copytree(imagenet, clean)
    clutter(imagenet, jpeg(0))
    clutter(imagenet / "imagenet/train", jpeg(0))
    clutter(imagenet / "imagenet/val", jpeg(0))
    assert same_imagenet(clean, imagenet, tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize("place", ["", "imagenet", "imagenet-object-localization-challenge"])
def test_kaggles_imagenet_is_the_same(
    imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    kaggle = tmp_path / "elsewhere" / place
    kaggle.parent.mkdir(exist_ok=True)
    as_on_kaggle(imagenet).rename(kaggle)
    assert same_imagenet(imagenet, tmp_path / "elsewhere", tmp_path / "cache", monkeypatch)
    # In class folders some of its images, and the list beside them: as after a script that was stopped.
    folder = find_imagenet(tmp_path / "elsewhere", "subset")
    (kaggle / "LOC_val_solution.csv").rename(folder / "LOC_val_solution.csv")
    (folder / "val" / WNIDS[0]).mkdir()
    shutil.copy(next((imagenet / "imagenet/val" / WNIDS[0]).iterdir()), folder / "val" / WNIDS[0])
    assert same_imagenet(imagenet, tmp_path / "elsewhere", tmp_path / "other", monkeypatch)


def test_flat_images_need_their_classes(imagenet: Path) -> None:
    kaggle = as_on_kaggle(imagenet)
    solution = kaggle / "LOC_val_solution.csv"
    rows = solution.read_text(encoding="utf-8-sig").splitlines()
    solution.write_text("\n".join(row for row in rows if "val_00000004" not in row))
    with pytest.raises(DataError, match=r"solution\.csv has no class for ILSVRC2012_val_00000004\.JPEG in"):
        open_imagenet(kaggle, 24, CPU, "subset")
    solution.unlink()
    with pytest.raises(DataError, match=r"no class folders; .* LOC_val_solution\.csv beside it, or move"):
        open_imagenet(kaggle, 24, CPU, "subset")


def test_link_to_nothing_is_named(imagenet: Path, tmp_path: Path) -> None:
    (imagenet / "imagenet/train" / WNIDS[1] / "gone.JPEG").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"gone\.JPEG cannot be read: No such file"):
        load_imagenet_packed(imagenet, tmp_path / "cache", 16, "subset")


def contents(folder: Path, listing: ImageListing) -> tuple[list[str], list[int]]:
    """Return the digest and the label of each image, in order."""
    digests = [hashlib.md5((folder / name).read_bytes()).hexdigest() for name in listing.names]
    return digests, torch.cat([listing.train.labels, listing.test.labels]).tolist()


def move(paths: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.rename(folder / path.name)


@pytest.mark.parametrize("layout", ["val/{}", "val/{}/images", "val/images/{}"])
def test_tiny_imagenet_in_class_folders_is_the_same(
    tmp_path: Path, tiny_files: dict[str, bytes], write: Write, layout: str
) -> None:
    files = {name: name.encode() if name.endswith("JPEG") else text for name, text in tiny_files.items()}
    root = write(tmp_path / "tiny-imagenet-200", files)
    expected = contents(root, list_tiny_imagenet(FolderSource(root)))
    annotations = [line.split()[:2] for line in files["val/val_annotations.txt"].decode().splitlines()]
    for wnid in ("n01", "n02"):
        move(
            (root / "val/images" / name for name, other in annotations if other == wnid),
            root / layout.format(wnid),
        )
        clutter(root / layout.format(wnid), b"left behind")
    clutter(root / "train", b"left behind")
    assert contents(root, list_tiny_imagenet(FolderSource(root))) == expected
    # Some scripts remove every text file, and flatten the training images, too.
    (root / "wnids.txt").unlink()
    (root / "val/val_annotations.txt").unlink()
    for wnid in ("n01", "n02"):
        move(list((root / "train" / wnid / "images").iterdir()), root / "train" / wnid)
    assert contents(root, list_tiny_imagenet(FolderSource(root))) == expected


@pytest.mark.heavy
def test_tiny_imagenet_is_found_in_the_data_folder_or_as_it(
    tmp_path: Path, tiny_files: dict[str, bytes], write: Write
) -> None:
    root = write(tmp_path / "tiny-imagenet-200", tiny_files)
    (root / "wnids.txt").write_bytes(b"\xef\xbb\xbf" + tiny_files["wnids.txt"])
    sums = {checksum(*load_tiny_imagenet(data, tmp_path / "cache", "subset")) for data in (tmp_path, root)}
    assert len(sums) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_image_of_any_mode_has_torchvisions_pixels(mode: str, tmp_path: Path) -> None:
    from torchvision.datasets.folder import pil_loader

    path = tmp_path / f"a.{'jpg' if mode == 'CMYK' else 'png'}"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees: torchvision, and so published numbers, leave it as it is
    image.convert(mode).save(path, exif=exif)
    found = decode_image(path.read_bytes(), "a")
    assert (found.mode, found.size) == ("RGB", (8, 9))
    assert np.array_equal(np.asarray(found), np.asarray(pil_loader(str(path))))


def saved(image: Image.Image, name: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "x.png is not an image but an empty file"),
        (b"<html>", "x.png is not an image but a format that Pillow cannot read"),
        (saved(Image.new("I;16", (4, 4)), "PNG"), r"x.png has pixels of more than 8 bits \(I;16\)"),
        (saved(Image.new("RGB", (64, 64), 7), "PNG")[:-40], "x.png is not a complete image"),
    ],
)
def test_image_that_cannot_be_used_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        decode_image(content, "x.png")
    assert " at 0x" not in str(caught.value)

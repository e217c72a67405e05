"""Image files that cannot be decoded are found before a run, named, and refused or left out."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import command
from torch import nn

from plastibench.data import broken_images
from plastibench.data.image_files import decode_image, seems_complete
from plastibench.data.imagenet import load_imagenet_packed, open_imagenet
from plastibench.data.images import DatasetSplits
from plastibench.errors import DataError
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import build
from plastibench.plugins.registry import Registry
from plastibench.store.checkpoint import pack
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import data_context, read_back
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, EpochProgress, StateDict, TrainingCallback

Jpeg = Callable[..., bytes]
CPU = torch.device("cpu")
BROKEN = "train/b/b_1.JPEG"


def png(mode: str, dtype: str = "uint8") -> bytes:
    """Return a PNG of 8x8 pixels in one of Pillow's modes."""
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), 77, dtype)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def color_of_16_bits() -> bytes:
    """Return a PNG of 4x4 pixels (0x1234, 0x5678, 0x9abc), which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = (struct.pack(">I", number) for number in (len(content), zlib.crc32(kind + content)))
        return size + kind + content + check

    rows = (b"\0" + b"\x12\x34\x56\x78\x9a\xbc" * 4) * 4
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_color_of_16_bits_keeps_its_upper_8_as_in_torchvision() -> None:
    assert decode_image(color_of_16_bits(), "it").getpixel((0, 0)) == (0x12, 0x56, 0x9A)


@pytest.fixture
def root(tmp_path: Path, jpeg: Jpeg) -> Path:
    """An ImageNet of two classes: four train images and one val image each."""
    for position, (part, images) in enumerate((("train", 4), ("val", 1))):
        for wnid in ("a", "b"):
            folder = tmp_path / "imagenet" / part / wnid
            folder.mkdir(parents=True)
            for number in range(images):
                content = jpeg(10 * position + number + (wnid == "b") * 100, (40, 30))
                (folder / f"{wnid}_{number}.JPEG").write_bytes(content)
    return tmp_path / "imagenet"


def opened(root: Path, what: broken_images.BrokenImages, *, checked: bool = True) -> DatasetSplits:
    cache = root.parent / "cache" if checked else None
    return open_imagenet(root.parent, 16, CPU, "subset", cache=cache, broken_images=what)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


KINDS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (truncated, "not a complete image"),
    "its end is missing": (lambda content: content[:-200], "not a complete image"),
    "zero bytes": (lambda _: b"", "an empty file"),
    "a page": (lambda _: b"<html>404</html>", "a format that Pillow cannot read"),
    "16 bits": (lambda _: png("I;16", "uint16"), "pixels of more than 8 bits"),
    "a truncated palette": (lambda _: truncated(png("P")), "not a complete image"),
    "a header alone": (lambda content: content[:2] + content[-2:], "not"),
}
WHOLE: dict[str, Callable[[Jpeg], bytes]] = {
    "gray": lambda jpeg: jpeg(1, (40, 30), "L"),
    "CMYK": lambda jpeg: jpeg(1, (40, 30), "CMYK"),
    "palette": lambda _: png("P"),
    "zeros behind the end": lambda jpeg: jpeg(1, (40, 30)) + bytes(64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_is_named_before_a_run(root: Path, kind: str) -> None:
    spoil, reason = KINDS[kind]
    path = root / BROKEN
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^1 of 10 images cannot be decoded: {BROKEN} \(.*{reason}.*skip$"):
        opened(root, "refuse")
    for _ in range(2):  # the second time from the cache
        found = opened(root, "skip")
        assert (len(found.train), len(found.test)) == (7, 2)
        assert found.left_out[0].startswith(f"{BROKEN} (")
        assert len(list(found.train.batches(7))) == 1


@pytest.mark.parametrize("kind", WHOLE)
def test_an_unusual_file_is_an_image(root: Path, jpeg: Jpeg, kind: str) -> None:
    (root / BROKEN).write_bytes(WHOLE[kind](jpeg))
    for what in ("refuse", "skip"):
        found = opened(root, what)
        assert (len(found.train), found.left_out) == (8, ())


def test_complete_files_are_not_decoded_by_the_quick_check(root: Path) -> None:
    path, stream = root / BROKEN, io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[2000:2040] = bytes(40)  # though the header and the end are right
    path.write_bytes(bytes(content))
    assert seems_complete(path)
    with pytest.raises(DataError, match="not a complete image"):
        decode_image(bytes(content), "it")
    assert len(opened(root, "refuse").train) == 8
    with pytest.raises(DataError, match=r"b_1\.JPEG is not a complete image"):
        list(opened(root, "refuse").train.batches(8))
    assert len(opened(root, "skip").train) == 7


def test_a_repaired_file_is_checked_again(root: Path) -> None:
    path = root / BROKEN
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(DataError, match="an empty file"):
        opened(root, "refuse")
    path.write_bytes(content)
    assert len(opened(root, "refuse").train) == 8


def test_what_is_left_out_changes_the_checksum_and_no_other_image(root: Path) -> None:
    whole = opened(root, "skip", checked=False)
    (root / BROKEN).write_bytes(b"")
    left = opened(root, "skip")
    assert left.checksum != whole.checksum
    kept = torch.tensor([position for position in range(8) if position != 5])
    [(x, y)], [(x_whole, y_whole)] = left.train.batches(8), whole.train.take(kept).batches(8)
    assert torch.equal(x, x_whole)
    assert torch.equal(y, y_whole)


def test_a_class_without_a_whole_image_is_refused(root: Path) -> None:
    (root / "val/a/a_0.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match=r"all images beside .*a_0\.JPEG are broken"):
        opened(root, "skip")


def test_images_kept_in_memory_are_left_out_too(root: Path) -> None:
    (root / BROKEN).write_bytes(b"")
    cache = root.parent / "cache"
    train, test = load_imagenet_packed(root.parent, cache, 16, "subset", broken_images="skip")
    assert (len(train), len(test), len(train.left_out)) == (7, 2, 1)
    with pytest.raises(DataError, match="an empty file"):
        load_imagenet_packed(root.parent, cache, 16, "subset")


def test_many_broken_files_are_counted_and_the_first_ones_named() -> None:
    broken = {f"{number}.JPEG": "an empty file" for number in range(8)}
    assert broken_images.describe_broken(broken, 20) == (
        "8 of 20 images cannot be decoded: "
        + ", ".join(f"{number}.JPEG (an empty file)" for number in range(5))
        + " and 3 more"
    )


def run(root: Path, *words: object) -> tuple[int, str]:
    settings = ("classes=2", "resolution=16", "max_epochs=1", "target_accuracy=none", "width=4")
    words = (*words, *(word for setting in settings for word in ("--set", setting)))
    folders = ("--home", root.parent / "home", "--data", root.parent)
    grid = ("--task", "imagenet", "--model", "mlp_bn", "--method", "warm", "--seeds", 1)
    answer = command("run", "--no-mlflow", *grid, *folders, *words)
    return answer.status, answer.err


@pytest.mark.heavy
def test_a_run_names_what_it_leaves_out_and_its_record_counts_it(root: Path) -> None:
    (root / BROKEN).write_bytes(b"")
    status, said = run(root)
    assert status == 2, said
    assert "an empty file" in said
    status, said = run(root, "--set", "broken_images=skip")
    assert status == 0, said
    left_out = f"1 image left out: {BROKEN} (not an image but an empty file)"
    assert left_out in said
    [record] = Store(root.parent / "home").records()
    assert record.provenance["left_out"] == left_out


class Saved(Checkpointer):
    """Keeps the state of a run as a file would."""

    state: memoryview | None = None

    def resume_state(self) -> StateDict | None:
        return None if self.state is None else read_back(self.state)

    def save_state(self, state: StateDict) -> None:
        self.state = pack("a-run", state)


class Breaking(TrainingCallback):
    """Spoils a file after the first epoch, if there is one to spoil."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.weights = path, list[torch.Tensor]()

    def on_epoch_end(self, epoch: EpochProgress) -> None:
        if self.path is not None:
            self.path.write_bytes(b"")

    def on_train_end(self, model: nn.Module) -> None:
        self.weights = [weight.clone() for weight in model.state_dict().values()]


@pytest.mark.heavy
def test_a_file_that_breaks_during_a_run_is_named_and_the_run_continues_once_it_is_mended(
    root: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_DECODERS", "0")
    settings = {"classes": "2", "max_epochs": "3", "target_accuracy": "none", "width": "2", "batch_size": "2"}
    spec = Grid(("imagenet",), ("warm",), models=("mlp_bn",), settings=settings).specs(registry)[0]
    task, method = build(spec, registry)
    context = replace(data_context(), data=root.parent, cache=root.parent / "cache")

    def run_with(path: Path | None, saved: Checkpointer) -> Breaking:
        callback = Breaking(path)
        list(protocol.run(task, method, 0, context, callback=callback, checkpointer=saved))
        return callback

    whole = run_with(None, Checkpointer())
    path, saved = root / BROKEN, Saved()
    content, stat = path.read_bytes(), path.stat()
    with pytest.raises(DataError, match=r"b_1\.JPEG is not an image but an empty file"):
        run_with(path, saved)
    state = saved.resume_state()
    assert state is not None
    assert state["training"]["batch"] + state["training"]["epoch"] > 0
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    resumed = run_with(None, saved)
    assert all(torch.equal(a, b) for a, b in zip(resumed.weights, whole.weights, strict=True))
    assert resumed.weights

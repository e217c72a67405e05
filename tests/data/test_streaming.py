"""ImageNet's layout: streamed alike by any number of workers, packed, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from plastibench.data.dataset import Batch
from plastibench.data.decoded_cache import DecodeJob, Pixels, decode_once, load_decoded
from plastibench.data.imagenet import imagenet_job, list_imagenet, load_imagenet_packed, open_imagenet
from plastibench.data.images import DatasetSplits
from plastibench.data.images import checksum as images_checksum
from plastibench.data.streaming import MEAN, STD, StreamingDataset, default_num_workers
from plastibench.distributed.ranks import SOLO, Ranks
from plastibench.errors import DataError, RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import build
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage
from plastibench.system.signals import STOP_SIGNALS
from plastibench.testing.run_trace import data_context

Jpeg = Callable[..., bytes]
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, jpeg: Jpeg) -> Path:
    """A data folder with an ImageNet of three classes: five train and two val images each."""
    seed = 0
    for part, num_images in (("train", 5), ("val", 2)):
        for wnid in ("n3", "n1", "n2"):
            (tmp_path / "imagenet" / part / wnid).mkdir(parents=True)
            for number in range(num_images):
                seed += 1
                mode = ("RGB", "L", "CMYK")[seed % 3]
                path = tmp_path / "imagenet" / part / wnid / f"{wnid}_{number}.JPEG"
                path.write_bytes(jpeg(seed, (20 + 4 * seed, 50), mode))
    return tmp_path


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int = 0, size: int = 32) -> DatasetSplits:
    monkeypatch.setenv("PLASTIBENCH_DECODERS", str(workers))
    return open_imagenet(folder, size, CPU, "subset")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(one, other, strict=True)
    )


def denormalized(x: Tensor) -> Tensor:
    return x * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def test_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(folder, monkeypatch)
    assert (found.num_classes, len(found.train), len(found.test)) == (3, 15, 6)
    assert found.train.shape == (3, 32, 32)
    labels = torch.cat([y for _, y in found.test.batches(4)])
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.checksum == opened(folder, monkeypatch).checksum
    (folder / "imagenet/val/n1/n1_1.JPEG").rename(folder / "imagenet/val/n1/n1_9.JPEG")
    assert found.checksum != opened(folder, monkeypatch).checksum


def test_plain_images_are_the_central_crop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(folder, monkeypatch).train
    [(x, _)] = data[4:5].batches(1)
    transform = v2.Compose([v2.Resize(37), v2.CenterCrop(32), v2.PILToTensor()])
    with Image.open(folder / "imagenet/train/n1/n1_4.JPEG") as image:
        expected = transform(image.convert("RGB")).float() / 255
    assert torch.allclose(denormalized(x[0]), expected, atol=1e-5)


@pytest.mark.heavy
def test_batches_do_not_depend_on_the_number_of_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = torch.randperm(15, generator=seeded(2))
    epochs = []
    for workers in (0, 2):
        data = opened(folder, monkeypatch, workers).train
        state = torch.get_rng_state()
        epochs.append(list(data.batches(4, order, seeded(7))))
        assert torch.equal(torch.get_rng_state(), state)
    assert [len(y) for _, y in epochs[0]] == [4, 4, 4, 3]
    assert same(*epochs)
    labels = torch.arange(3).repeat_interleave(5)
    assert torch.equal(torch.cat([y for _, y in epochs[0]]), labels[order])


@pytest.mark.heavy
def test_decoders_leave_stop_signals_to_the_training_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(folder, monkeypatch, workers=1).train
    batches = data.batches(1)
    next(batches)
    [decoder] = multiprocessing.active_children()
    assert decoder.pid is not None
    for number in STOP_SIGNALS:
        os.kill(decoder.pid, number)
    assert len(list(batches)) == 13
    decoder.join()


@pytest.mark.heavy
def test_decoders_warning_is_shown_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, path in enumerate(sorted((folder / "imagenet/train").glob("*/*"))):
        image = Image.new("RGB", (40, 40), (number, 0, 0)).convert("P")
        image.save(path.with_suffix(".png"), transparency=bytes(range(256)))
        path.unlink()
    datasets = [opened(folder, monkeypatch, workers).train for workers in (2, 2, 0)]
    with pytest.warns(UserWarning, match="Palette images with Transparency") as caught:
        assert all(list(data.batches(4)) for data in datasets)
    assert len(caught) == 1


def test_augmentation_follows_the_generator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(folder, monkeypatch).train
    first, second = (list(data.batches(8, augment=seeded(seed))) for seed in (1, 2))
    assert same(first, list(data.batches(8, augment=seeded(1))))
    assert not any(torch.equal(x, other) for (x, _), (other, _) in zip(first, second, strict=True))
    # A generator that goes on gives every epoch other images.
    going = seeded(1)
    list(data.batches(8, augment=going))
    assert not same(first, list(data.batches(8, augment=going)))


def test_a_resumed_epoch_reads_no_files_of_the_steps_that_were_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(folder, monkeypatch).train
    whole = list(data.batches(4, augment=seeded(3)))
    for path in sorted((folder / "imagenet/train").glob("*/*"))[:8]:
        path.unlink()
    rest = [(x, y) for x, y, _ in data.batches_of_rank(SOLO, 4, augment=seeded(3), start=2)]
    assert same(rest, whole[2:])
    assert list(data.batches_of_rank(SOLO, 4, start=4)) == []


def test_each_device_decodes_its_part_of_the_same_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(Ranks):
        rank, size = 1, 2

    data, ranks = opened(folder, monkeypatch).train, Second()
    whole = list(data.batches(5, augment=seeded(3)))
    parts = list(data.batches_of_rank(ranks, 5, augment=seeded(3)))
    assert [(part.start, part.end) for _, _, part in parts[:2]] == [(2, 5), (2, 5)]
    assert same(
        [(x, y) for x, y, _ in parts],
        [(part.of(x), part.of(y)) for (x, y), (*_, part) in zip(whole, parts, strict=True)],
    )


def test_parts_and_selections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(folder, monkeypatch).train
    assert isinstance(data, StreamingDataset)
    whole = torch.cat([x for x, _ in data.batches(15)])
    part = data[3:9][1:4]
    assert len(part) == 3
    assert torch.equal(torch.cat([x for x, _ in part.batches(2)]), whole[4:7])
    chosen = torch.tensor([7, 0, 7])
    assert torch.equal(torch.cat([x for x, _ in data[2:].take(chosen).batches(3)]), whole[2:][chosen])
    assert list(data[:0].batches(3)) == []


@pytest.mark.heavy
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    path = folder / "imagenet/train/n2/n2_2.JPEG"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"n2_2\.JPEG is not a complete image") as caught:
        list(opened(folder, monkeypatch, workers).train.batches(4))
    assert "\n" not in str(caught.value)
    path.unlink()
    data = opened(folder, monkeypatch).train
    (folder / "imagenet/train/n1/n1_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"n1_0\.JPEG cannot be read: No such file"):
        list(data.batches(4))


def test_number_of_workers_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLASTIBENCH_DECODERS", raising=False)
    assert 1 <= default_num_workers() <= 16
    monkeypatch.setenv("PLASTIBENCH_DECODERS", "-1")
    with pytest.raises(DataError, match="'-1'; it must be a number of processes, 0 or more"):
        default_num_workers()


def test_decoded_image_is_the_central_square(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = load_imagenet_packed(folder, tmp_path / "cache", 24, "subset")
    assert train.x.shape == (15, 3, 24, 24)
    assert test.y.tolist() == [0, 0, 1, 1, 2, 2]
    transform = v2.Compose([v2.Resize(24), v2.CenterCrop(24), v2.PILToTensor()])
    # High ones and wide ones.
    for number, path in enumerate(sorted((folder / "imagenet/train").glob("*/*"))):
        with Image.open(path) as image:
            assert torch.equal(train.x[number], transform(image.convert("RGB")))
    # The streamed part of the same folder has the same order.
    labels = torch.cat([y for _, y in opened(folder, monkeypatch).train.batches(9)])
    assert torch.equal(train.y, labels)


def job_of(folder: Path) -> DecodeJob:
    root = folder / "imagenet"
    return imagenet_job(root, 16, list_imagenet(root, "subset"))


def decoded(folder: Path, cache: Path) -> Path:
    return decode_once(cache, job_of(folder), block_size=4)


def test_decoding_is_continued_after_an_interruption(folder: Path, tmp_path: Path) -> None:
    fresh, _ = load_decoded(decoded(folder, tmp_path / "other"))
    cache, job = tmp_path / "cache", job_of(folder)

    def interrupted(name: str) -> Pixels:
        if name.endswith("n3_4.JPEG"):
            raise KeyboardInterrupt
        return job.decode(name)

    with pytest.raises(KeyboardInterrupt):
        decode_once(cache, replace(job, decode=interrupted), block_size=4)
    [part] = cache.glob("*.part")
    assert json.loads((part / "progress.json").read_text())["done"] == 12
    # Bytes beyond the saved progress are overwritten; the images before it are not decoded again.
    with (part / "images.u8").open("r+b") as stream:
        stream.write(bytes(3 * 16 * 16))
        stream.seek(0, 2)
        stream.write(b"\xff" * 1000)
    path = decoded(folder, cache)
    train, _ = load_decoded(path)
    assert torch.equal(train.x[1:], fresh.x[1:])
    assert not train.x[0].any()
    assert sorted(path.name for path in cache.iterdir()) == [path.name]


def test_changed_image_is_decoded_again_although_size_and_time_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    before, _ = load_imagenet_packed(folder, tmp_path, 16, "subset")
    one, other = (folder / f"imagenet/train/n1/n1_{number}.JPEG" for number in (0, 1))
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (one, other)]
    size = max(path.stat().st_size for path in (one, other))
    contents = [path.read_bytes().ljust(size, b"\0") for path in (one, other)]
    for path, content in zip((one, other), contents, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=times[0])
    padded, _ = load_imagenet_packed(folder, tmp_path, 16, "subset")
    assert torch.equal(padded.x, before.x)
    for path, content in zip((one, other), reversed(contents), strict=True):
        path.write_bytes(content)
        os.utime(path, ns=times[0])
    after, _ = load_imagenet_packed(folder, tmp_path, 16, "subset")
    assert torch.equal(after.x[[1, 0]], before.x[[0, 1]])


@pytest.mark.parametrize("resolution", [16, 32])
def test_folders_with_the_same_names_and_other_pixels_have_other_checksums(
    folder: Path, tmp_path: Path, resolution: int
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "imagenet", copy / "imagenet", copy_function=shutil.copy)  # with other times

    def checksum(data: Path) -> str:
        if resolution == 32:
            return open_imagenet(data, resolution, CPU, "subset").checksum
        return images_checksum(*load_imagenet_packed(data, tmp_path / "cache", resolution, "subset"))

    before = checksum(folder)
    assert checksum(copy) == before
    path = copy / "imagenet/train/n2/n2_2.JPEG"
    path.write_bytes((copy / "imagenet/train/n2/n2_3.JPEG").read_bytes())
    assert checksum(copy) != before


@pytest.mark.parametrize("name", ["images.u8", "labels.i64", "header.json"])
def test_damaged_cache_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    path = decoded(folder, tmp_path / "cache")
    content = (path / name).read_bytes()
    for damaged in (content[:-3], b"?" + content[1:]):
        (path / name).write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged"):
            load_decoded(path)


def test_decoding_needs_a_folder_it_can_write(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match="decoded images cannot be kept in"):
        decoded(folder, tmp_path / "cache")


def test_incomplete_sets_are_refused(folder: Path, tmp_path: Path) -> None:
    root = folder / "imagenet"
    with pytest.raises(DataError, match="has 3 classes, 15 train and 6 val images, and ImageNet has 1000"):
        open_imagenet(folder, 32, CPU)
    with pytest.raises(RequestError, match="no edition of ImageNet named 'all'"):
        open_imagenet(folder, 32, CPU, "all")
    with pytest.raises(DataError, match="ImageNet is not in"):
        open_imagenet(folder / "elsewhere", 32, CPU)
    for path in (root / "val/n2").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="n2 has no images; remove it from train and val if it"):
        list_imagenet(root, "subset")
    (root / "val/ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(DataError, match="val holds images but no class folders"):
        list_imagenet(root, "subset")


def test_real_sample(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (real_data / "imagenet-sample").is_dir():
        pytest.skip("there is no imagenet-sample in PLASTIBENCH_DATA")
    found = opened(real_data, monkeypatch, workers=0, size=64)
    train, test = load_imagenet_packed(real_data, tmp_path, 64, "subset")
    assert (found.num_classes, len(train), len(test)) == (16, 64, 32)
    x, _ = next(iter(found.test.batches(32)))
    # The same pictures, one cropped a little closer: blurred, they are alike.
    blurred = [torch.nn.functional.avg_pool2d(part, 32) for part in (denormalized(x), test.x.float() / 255)]
    assert float((blurred[0] - blurred[1]).abs().mean()) < 0.06


def test_streamed_images_take_other_labels_but_no_other_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(folder, monkeypatch).train
    part = data.take(torch.tensor([7, 0, 14]))
    assert part.labels().tolist() == [1, 0, 2]
    changed = part.with_labels(torch.tensor([0, 2, 1]))
    assert changed.labels().tolist() == [0, 2, 1]
    assert changed[1:].labels().tolist() == [2, 1]
    (x, y), (x_before, _) = *changed.batches(3), *part.batches(3)
    assert torch.equal(x, x_before)
    assert y.tolist() == [0, 2, 1]
    assert data.labels().tolist() == [0] * 5 + [1] * 5 + [2] * 5
    with pytest.raises(
        DataError, match=r"^the pixels of images that are streamed from files cannot be reordered"
    ):
        data.with_pixels(torch.arange(32 * 32))


def test_streamed_imagenet_runs_under_regimes_that_leave_pixels_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    monkeypatch.setenv("PLASTIBENCH_DECODERS", "0")
    context = replace(data_context(), data=folder, cache=folder)

    def stages(regime: str, **settings: str) -> list[Stage]:
        given = {"classes": "3", "regime": regime, **settings}
        spec = Grid(("imagenet",), ("warm",), settings=given).specs(registry)[0]
        return list(build(spec, registry)[0].stream(0, context))

    arriving = stages("class_incremental", stages="3")
    assert [sorted(set(stage.train.labels().tolist())) for stage in arriving] == [[0], [0, 1], [0, 1, 2]]
    assert [len(stage.test) for stage in arriving if stage.test is not None] == [2, 4, 6]
    pairs = stages("class_pairs", stages="2")
    assert [sorted(stage.train.labels().tolist()) for stage in pairs] == [[0] * 5 + [1] * 5] * 2
    noisy, clean = (stages("label_noise", stages="3", noise=noise)[-1] for noise in ("1", "0"))
    assert (noisy.train.labels() != clean.train.labels()).all()
    [(_, y)] = noisy.train.batches(15)
    assert torch.equal(y, noisy.train.labels())
    with pytest.raises(DataError, match=r"^the pixels of images that are streamed"):
        stages("permuted_pixels")

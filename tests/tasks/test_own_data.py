"""Tasks on data of the user's own, from end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.commands import command

from plastibench.devices import get_device
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext, Task
from plastibench.testing import laws

FEW = ("stages=2", "max_epochs=1", "width=4")


def run(home: Path, *words: object) -> Any:
    few = [word for each in FEW for word in ("--set", each)]
    return command("run", "--no-mlflow", "--home", home, "--seeds", 1, "--method", "warm", *few, *words)


def iris(path: Path, change: float = 0.0) -> Path:
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).frame
    frame.iloc[0, 0] += change
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def table(tmp_path: Path) -> tuple[object, ...]:
    """Words that name a task on real rows."""
    return "--task", "table", "--set", f"file={iris(tmp_path / 'iris.csv')}", "--set", "label=target"


def test_a_table_is_run_without_code_and_other_rows_are_noticed(
    tmp_path: Path, table: tuple[object, ...]
) -> None:
    home = tmp_path / "home"
    done = run(home, *table)
    assert done.status == 0, done.err
    assert f"table (file={tmp_path / 'iris.csv'} label=target missing=refuse" in "".join(
        done.out.splitlines()
    )
    assert "the run is finished already" in run(home, *table).err
    iris(tmp_path / "iris.csv", change=0.1)
    refused = run(home, *table)
    assert refused.status == 2
    assert "was made on data" in refused.lines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--model", "small_resnet"),
            "SmallResNet cannot be trained on Table: it takes images, not rows of 4",
        ),
        (("--set", "augment=true"), "augment=true means nothing for Table: it has no augmentation"),
        (("--set", "stages=200"), "stages=200 is not allowed: there are only 120 training examples"),
        (
            ("--set", "test_file=none.csv", "--set", "test_share=0.5"),
            "test_share=0.5 means nothing with test_",
        ),
        (("--set", "label=species"), "no column of"),
        (("--set", "regime=permuted_pixels"), "rows of numbers have no pixels to reorder: this regime needs"),
    ],
)
def test_what_a_table_cannot_do_is_one_line(
    tmp_path: Path, table: tuple[object, ...], words: tuple[str, ...], message: str
) -> None:
    refused = run(tmp_path / "home", *table, *words)
    assert refused.status == 2
    assert message in refused.lines()[-1]


def test_a_table_without_a_file_says_what_it_needs(tmp_path: Path) -> None:
    assert run(tmp_path, "--task", "table").lines()[-1] == "plastibench: Table needs file=...: file is text"


PLUGIN = '''"""A task of a test, with rows of its own."""
from dataclasses import dataclass

import torch

from plastibench.api import ClassificationTask, LabeledRows, row_splits


@dataclass(frozen=True, kw_only=True)
class Rings(ClassificationTask):
    """Points of a plane inside and outside of a circle (2026)."""

    default_architecture = "mlp_bn"
    shape = (2,)
    num_classes = 2

    def load(self, context):
        """Return the points on the context's device."""
        x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
        y = (x.norm(dim=1) > 1.2).long()
        parts = LabeledRows(x[:150], y[:150]), LabeledRows(x[150:], y[150:])
        return row_splits("Rings", *parts, context.device.torch_device, normalize=self.recipe.normalize)
'''


def test_a_plug_in_may_have_rows_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "rings.py").write_text(PLUGIN)
    words = ("--plugin", tmp_path / "rings.py", "--task", "rings")
    done = run(tmp_path / "home", *words, "--set", "normalize=true")
    assert done.status == 0, done.err
    refused = run(tmp_path / "home", *words, "--model", "resnet18")
    assert "ResNet18 cannot be trained on Rings: it takes images, not rows of 2 numbers" in refused.err


def rows_task(registry: Registry, folder: Path) -> Task:
    cls, architecture = registry.load("task", "table"), registry.load("model", "mlp_bn")(width=8, depth=2)
    recipe = next(iter(cls.recipes(architecture).values())).from_strings({"max_epochs": "2"})
    file = str(iris(folder / "iris.csv"))
    task: Task = cls(recipe=recipe, architecture=architecture, file=file, label="target", stages=3)
    return task


def test_a_regime_relabels_rows(registry: Registry, tmp_path: Path) -> None:
    """Of the 40 real rows of the first chunk, 16 have another label, and all have the same numbers."""
    task: Any = rows_task(registry, tmp_path)
    noisy = replace(task, regime=registry.load("regime", "label_noise")(noise=(0.4,)))
    context = DataContext(get_device("cpu"), tmp_path, tmp_path)
    (x, y), (x2, y2) = (next(next(each.stream(0, context)).train.batches(99)) for each in (task, noisy))
    assert torch.equal(x, x2)
    assert (len(y), int((y != y2).sum())) == (40, 16)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["dash", "head_reset", "shrink_perturb"])
def test_the_laws_hold_on_rows(registry: Registry, tmp_path: Path, name: str) -> None:
    task, cls = rows_task(registry, tmp_path), registry.load("method", name)
    laws.interruption_changes_nothing(task, cls)
    laws.counted_cost_equals_real_cost(task, cls, num_classes=3)
    if cls.disabled:
        laws.disabled_method_equals_warm_start(task, cls)
    laws.active_method_differs_from_warm_start(task, cls)


def pictures(folder: Path) -> Path:
    """Write small images of noise in a folder for each of two classes."""
    draw = torch.Generator().manual_seed(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = torch.randint(256, (8, 8, 3), generator=draw, dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.heavy
def test_a_folder_of_images_is_run_without_code_and_other_pixels_are_noticed(tmp_path: Path) -> None:
    folder, home = pictures(tmp_path / "pictures"), tmp_path / "home"
    words = (
        "--task",
        "image_folder",
        "--set",
        f"folder={folder}",
        "--set",
        "resolution=8",
        "--data",
        tmp_path,
    )
    done = run(home, *words)
    assert done.status == 0, done.err
    assert "the run is finished already" in run(home, *words).err
    first = folder / "cat" / "0.png"
    Image.open(first).rotate(90).save(first)
    refused = run(home, *words)
    assert refused.status == 2
    assert "was made on data" in refused.lines()[-1]
    first.write_bytes(b"")
    refused = run(tmp_path / "other", *words)
    assert (
        "1 of 40 images cannot be decoded: cat/0.png (not an image but an empty file)" in refused.lines()[-1]
    )

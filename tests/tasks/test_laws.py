"""The contract of tasks, over every task there is, on real data where they are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from plastibench.devices import get_device
from plastibench.errors import DataError
from plastibench.plugins.fields import settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext, Task
from plastibench.plugins.values import from_json
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training import protocol

NAMES = Registry().names("task")
AT_HAND: dict[str, dict[str, Any]] = {
    "digits": {},
    "cifar10": {"edition": "restored", "train_size": 300},
    "tiny_imagenet": {"classes": 12, "train_size": 300},
    "imagenet": {"classes": 16, "resolution": 64},
    "table": {},
    "image_folder": {"resolution": 8},
}
"""Tasks whose real data may lie in PLASTIBENCH_DATA, with settings for what lies there."""
OWN_DATA: dict[str, dict[str, Any]] = {"table": {"file": "mine.csv"}, "image_folder": {"folder": "images"}}
"""Tasks that read data of the user's own, which `own_data` writes into the current folder."""


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rows = [f"{place},{place * place % 7},{place % 3}" for place in range(24)]
    (folder / "mine.csv").write_text("\n".join(["a,b,label", *rows]))
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (9, 8), (number, 0, 0)).save(folder / "images" / name / f"{number}.png")


def make_task(registry: Registry, name: str, recipe: str | None = None, **settings: Any) -> Task:
    cls = registry.load("task", name)
    rows = cls.default_architecture == "mlp_bn"
    architecture = registry.load("model", "mlp_bn" if rows else "small_resnet")(width=4)
    settings = {**OWN_DATA.get(name, {}), **settings}
    recipes = cls.recipes(architecture)
    shortened = replace(recipes[recipe or next(iter(recipes))], max_epochs=1)
    task: Task = cls(recipe=shortened, architecture=architecture, **settings)
    return task


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_task_is_a_frozen_dataclass_that_names_its_source(registry: Registry, name: str) -> None:
    cls = registry.load("task", name)
    assert "__dataclass_fields__" in vars(cls)
    assert cls.__dataclass_params__.frozen
    assert name in OWN_DATA or "20" in cls.__doc__ or "19" in cls.__doc__  # a year


def test_a_task_builds_a_model_of_its_shape(registry: Registry, name: str) -> None:
    task: Any = make_task(registry, name)
    logits = task.model()(torch.zeros(2, *task.input_shape()))
    assert logits.shape == (2, task.output_classes())


def test_settings_of_a_task_travel_as_json(registry: Registry, name: str) -> None:
    task = make_task(registry, name)
    plain = from_json(json.loads(json.dumps(settings_of(task))))
    assert replace(task, **plain) == task


def test_data_that_are_not_there_are_named_in_one_sentence(
    registry: Registry, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "digits" or name in OWN_DATA:
        pytest.skip("it is not looked up in the data folder")
    # No network: every address is turned away at once.
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    context = DataContext(get_device("cpu"), tmp_path / "data", tmp_path / "cache")
    with pytest.raises(DataError) as found:
        next(iter(make_task(registry, name).stream(0, context)))
    message = str(found.value)
    assert str(tmp_path / "data") in message
    assert "http" in message
    assert "\n" not in message


@pytest.fixture(params=sorted(AT_HAND))
def real(request: pytest.FixtureRequest, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a task on real data and the site where it lies."""
    data = tmp_path_factory.mktemp("none")
    if request.param != "digits" and request.param not in OWN_DATA:
        data = request.getfixturevalue("real_data")
    cache = tmp_path_factory.getbasetemp() / "cache"
    return make_task(registry, request.param, stages=2, **AT_HAND[request.param]), DataContext(
        get_device("cpu"), data, cache
    )


@pytest.mark.heavy
def test_real_data_come_in_stages(real: Any) -> None:
    task, context = real
    first, again = list(task.stream(0, context)), list(task.stream(0, context))
    assert [len(stage.train) for stage in first] == [sum(stage.chunks) for stage in first]
    assert len(first) == task.num_stages() == 2
    for a, b in zip(first, again, strict=True):
        (x, y), (x2, y2) = next(a.train.batches(16)), next(b.train.batches(16))
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
        assert x.shape[1:] == task.input_shape()
        assert 0 <= int(y.min()) <= int(y.max()) < task.output_classes()
    assert first[0].checksum == first[1].checksum


@pytest.mark.heavy
def test_real_data_train(real: Any) -> None:
    task, context = real
    results = list(protocol.run(task, Method(), 0, context))
    assert len(results) == 2
    assert all(result.num_test for result in results)


def test_the_sota_recipe_is_the_reference_codes(registry: Registry) -> None:
    recipe = make_task(registry, "cifar10", recipe="sota").recipe
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size) == (0.1, 5e-4, 128)
    assert (recipe.milestones, recipe.decay, recipe.warmup_epochs) == ((60, 120, 160, 200), 0.2, 1)
    assert recipe.augment


@pytest.mark.heavy
@pytest.mark.slow
def test_augmented_training_on_real_data_is_repeatable(
    registry: Registry, real_data: Path, tmp_path: Path
) -> None:
    task = make_task(registry, "cifar10", recipe="sota", stages=2, **AT_HAND["cifar10"])
    context = DataContext(get_device("cpu"), real_data, tmp_path)
    first, second = ([r.train_loss for r in protocol.run(task, Method(), 0, context)] for _ in range(2))
    assert first == second


def test_a_run_does_not_depend_on_the_one_before(registry: Registry) -> None:
    task = make_task(registry, "digits", stages=2, train_size=64)
    alone = trace_run(task, Method(), seed=1)
    trace_run(task, Method(), seed=0)
    assert equal_weights(trace_run(task, Method(), seed=1).weights, alone.weights)

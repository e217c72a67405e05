"""Throughput: FLOPs counted by hand, breakdowns that add up, the command."""

from __future__ import annotations

import json
from pathlib import Path
from time import process_time

import pytest
from support.commands import command

from plastibench.devices import get_device
from plastibench.experiments.grid import Grid
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.profiling.throughput import (
    RandomImages,
    TimeBreakdown,
    flops_per_image,
    matmul_rate,
    measure_throughput,
)
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.workspace import Workspace


def test_flops_of_a_perceptron_match_a_count_by_hand(registry: Registry) -> None:
    architecture = registry.load("model", "mlp_bn")(depth=3, width=50)
    first, second, third = 3 * 32 * 32 * 50, 50 * 50, 50 * 10
    # Forward, gradient of the weights, gradient of the input: each a product, but the images need none.
    expected = 2 * (3 * (first + second + third) - first)
    assert flops_per_image(RandomImages(recipe=Recipe(), architecture=architecture)) == expected


def test_flops_of_a_convolution_match_a_count_by_hand(registry: Registry) -> None:
    plain, deeper = (
        flops_per_image(
            RandomImages(recipe=Recipe(), architecture=registry.load("model", "small_resnet")(blocks=blocks))
        )
        for blocks in (1, 2)
    )
    # One more block at each of 32x32x16, 16x16x32 and 8x8x64: two 3x3 convolutions, three products each.
    layers = sum(2 * side**2 * channels**2 * 9 for side, channels in ((32, 16), (16, 32), (8, 64)))
    assert deeper - plain == 2 * 3 * layers


@pytest.mark.heavy
def test_throughput_is_measured_with_the_training_code(registry: Registry) -> None:
    model = registry.load("model", "mlp_bn")(width=16)
    (speed,) = measure_throughput([("mlp_bn", model)], Recipe(optimizer="sam"), get_device("cpu"))
    assert speed.train_slowest <= speed.train_images_per_second <= speed.train_fastest
    assert speed.evaluation_images_per_second > 0
    assert 0 < speed.utilization < 1.5
    assert matmul_rate(get_device("cpu"), "bf16") > 0


def test_the_time_breakdown_of_a_run_adds_up(registry: Registry, tmp_path: Path) -> None:
    settings = {"stages": "2", "max_epochs": "2", "width": "4", "train_size": "130"}
    grid = Grid(tasks=("digits",), methods=("dash",), seeds=(0,), settings=settings)
    record = execute(
        grid.specs(registry)[0], RunContext(Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu")
    )
    breakdown = TimeBreakdown.from_record(record)
    assert sum(breakdown.fractions().values()) == pytest.approx(1)
    assert sum(vars(breakdown).values()) * 2 == pytest.approx(record.provenance["seconds"])
    assert min(breakdown.train, breakdown.evaluation, breakdown.remedy, breakdown.store) > 0


@pytest.mark.heavy
def test_a_stage_takes_the_processor_little_beside_its_training(registry: Registry, tmp_path: Path) -> None:
    """Twelve stages of one step each, after a first run that imports: usually 21 ms a stage."""
    settings = {"stages": "12", "max_steps": "1", "max_epochs": "none", "target_accuracy": "none"}
    grid = Grid(
        ("digits",), ("warm",), seeds=(0, 1), settings={**settings, "width": "4", "train_size": "130"}
    )
    context = RunContext(Workspace(home=tmp_path, data=tmp_path, cache=tmp_path), "cpu")
    seconds = []
    for spec in grid.specs(registry):
        begun = process_time()  # not the clock's: tests run beside others
        execute(spec, context)
        seconds.append(process_time() - begun)
    assert seconds[1] / 12 < 0.2


@pytest.mark.slow
def test_bench_prints_every_number_as_json() -> None:
    answer = command("bench", "--model", "mlp_bn", "--set", "batch_size=64", "--json")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    assert [row["model"] for row in found["models"]] == ["mlp_bn"]
    assert found["models"][0]["batch_size"] == 64
    assert found["seconds_per_stage"]["train"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "resnet"), "no model named 'resnet'; did you mean 'resnet18'"),
        (("--set", "precision=fp16"), "precision=fp16 is not allowed"),
        (("--set", "precision=tf32"), "precision=tf32 is not allowed on cpu"),
        (("--set", "width=4"), "no setting of Recipe named 'width'"),
        (("--device", "cuda:99"), "cuda"),
    ],
)
def test_an_invalid_request_prints_one_line(options: tuple[str, str], message: str) -> None:
    answer = command("bench", *options)
    assert answer.status == 2
    assert len(answer.lines()) == 1
    assert message in answer.err

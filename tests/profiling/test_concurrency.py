"""Concurrent runs on one device: total throughput, how many to choose, and the same results as alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import command, small_run

from plastibench.plugins.recipe import Recipe
from plastibench.profiling.concurrency import (
    ConcurrencyResult,
    RunThroughput,
    Workload,
    best_num_runs,
    measure_concurrency,
)
from plastibench.store.run_store import Store

GREEDY = '''"""A model of a test."""
from dataclasses import dataclass

import torch

from plastibench.api import Architecture


@dataclass(frozen=True, kw_only=True)
class Greedy(Architecture):
    """Wants more memory than there is."""

    def build(self, shape, num_classes, parts):
        return torch.nn.Linear(2**24, 2**24)
'''


def result(runs: int, rate: float | None) -> ConcurrencyResult:
    per_run = () if rate is None else (RunThroughput(rate / runs, None),) * runs
    return ConcurrencyResult("m", "fp32", runs, per_run, "out of memory" if rate is None else None)


@pytest.mark.heavy
def test_concurrent_runs_are_measured_while_all_of_them_train() -> None:
    load = Workload("mlp_bn", Recipe(batch_size=64), "cpu", seconds=0.3, num_images=64, threads=1)
    one, two = measure_concurrency(load, [1, 2])
    assert (one.num_runs, len(one.per_run), two.num_runs, len(two.per_run)) == (1, 1, 2, 2)
    assert one.reason is two.reason is None
    # On two cores or on one: two runs side by side train nothing like four times what one does.
    assert 0 < (two.images_per_second() or 0) < 4 * (one.images_per_second() or 0)
    assert two.images_per_second() == sum(run.images_per_second for run in two.per_run)


@pytest.mark.heavy
def test_a_failed_run_ends_the_measurement_of_its_count_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "greedy.py"
    file.write_text(GREEDY)
    load = Workload("greedy", Recipe(), "cpu", seconds=0.1, num_images=8, plugins=(file,))
    (found,) = measure_concurrency(load, [2])
    assert found.images_per_second() is None
    assert found.reason is not None
    assert found.reason.startswith("out of memory, 1,048,576.00 GiB requested")


def test_the_smallest_number_of_runs_near_the_highest_throughput_is_chosen() -> None:
    rates = {1: 100.0, 2: 180.0, 4: 250.0, 8: 253.0, 16: None}
    assert best_num_runs([result(runs, rate) for runs, rate in rates.items()]) == 4
    assert best_num_runs([result(1, 100.0), result(2, 103.0)]) == 2
    assert best_num_runs([result(4, None)]) == 1


@pytest.mark.heavy
def test_concurrent_runs_give_the_same_bits_as_serial_runs(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("alone", "concurrent")]
    for home, jobs in zip(homes, ("1", "2"), strict=True):
        answer = small_run(home, "--method", "warm,dash", "--jobs", jobs)
        assert answer.status == 0, answer.err
    alone, concurrent = ({r.id: r for r in Store(home).records()} for home in homes)
    assert alone.keys() == concurrent.keys()
    clock = ("seconds", "memory", "energy")
    for run, record in alone.items():
        for one, other in zip(record.stages, concurrent[run].stages, strict=True):
            assert {k: v for k, v in one.items() if not k.endswith(clock)} == {
                k: v for k, v in other.items() if not k.endswith(clock)
            }


@pytest.mark.heavy
@pytest.mark.slow
def test_bench_prints_how_many_runs_to_choose() -> None:
    words = ("--model", "mlp_bn", "--set", "batch_size=64", "--concurrency", "1", "--json")
    answer = command("bench", *words)
    assert answer.status == 0, answer.err
    (found,) = json.loads(answer.out)["models"]
    assert found["jobs"] == 1
    assert found["concurrency"][0]["images_per_second"] > 0
    assert "mlp_bn: fastest with --jobs 1" in answer.err


@pytest.mark.parametrize("counts", ["0", "1,two", "1,,2", "-1"])
def test_an_invalid_count_is_refused(counts: str) -> None:
    answer = command("bench", "--concurrency", counts)
    assert answer.status == 2
    assert "--concurrency" in answer.err
    assert len(answer.lines()) == 1

"""Several runs on one device: what they train in all, how many to choose, and the same results as alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import command, small_run

from plastibench.plugins.recipe import Recipe
from plastibench.profiling.concurrency import Load, Share, Together, best, together
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


def reached(runs: int, rate: float | None) -> Together:
    shares = () if rate is None else (Share(rate / runs, None),) * runs
    return Together("m", "fp32", runs, shares, "out of memory" if rate is None else None)


def test_each_of_several_runs_is_measured_while_the_others_train() -> None:
    load = Load("mlp_bn", Recipe(batch_size=64), "cpu", seconds=0.3, images=64, threads=1)
    one, two = together(load, [1, 2])
    assert (one.runs, len(one.shares), two.runs, len(two.shares)) == (1, 1, 2, 2)
    assert one.reason is two.reason is None
    # On two cores or on one: two runs side by side train nothing like four times what one does.
    assert 0 < (two.images_per_second() or 0) < 4 * (one.images_per_second() or 0)
    assert two.images_per_second() == sum(share.images_per_second for share in two.shares)


def test_a_run_that_fails_ends_its_count_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "greedy.py"
    file.write_text(GREEDY)
    load = Load("greedy", Recipe(), "cpu", seconds=0.1, images=8, plugins=(file,))
    (found,) = together(load, [2])
    assert found.images_per_second() is None
    assert found.reason is not None
    assert found.reason.startswith("out of memory, 1,048,576.00 GiB requested")


def test_the_fewest_runs_that_reach_the_most_are_chosen() -> None:
    rates = {1: 100.0, 2: 180.0, 4: 250.0, 8: 253.0, 16: None}
    assert best([reached(runs, rate) for runs, rate in rates.items()]) == 4
    assert best([reached(1, 100.0), reached(2, 103.0)]) == 2
    assert best([reached(4, None)]) == 1


def test_runs_side_by_side_give_the_bits_of_runs_alone(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("alone", "together")]
    for home, jobs in zip(homes, ("1", "2"), strict=True):
        answer = small_run(home, "--method", "warm,dash", "--jobs", jobs)
        assert answer.status == 0, answer.err
    alone, default_num_processes = ({r.id: r for r in Store(home).records()} for home in homes)
    assert alone.keys() == default_num_processes.keys()
    clock = ("seconds", "memory", "energy")
    for run, record in alone.items():
        for one, other in zip(record.stages, default_num_processes[run].stages, strict=True):
            assert {k: v for k, v in one.items() if not k.endswith(clock)} == {
                k: v for k, v in other.items() if not k.endswith(clock)
            }


def test_the_command_says_how_many_to_choose() -> None:
    words = ("--model", "mlp_bn", "--set", "batch_size=64", "--together", "1", "--json")
    answer = command("bench", *words)
    assert answer.status == 0, answer.err
    (found,) = json.loads(answer.out)["models"]
    assert found["jobs"] == 1
    assert found["together"][0]["images_per_second"] > 0
    assert "mlp_bn: most with --jobs 1" in answer.err


@pytest.mark.parametrize("counts", ["0", "1,two", "1,,2", "-1"])
def test_a_count_that_is_none_is_refused(counts: str) -> None:
    answer = command("bench", "--together", counts)
    assert answer.status == 2
    assert "--together" in answer.err
    assert len(answer.lines()) == 1

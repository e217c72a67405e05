"""Jobs that know nothing of each other execute every run once: `--shard` of `run` and of `resume`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.commands import SMALL, command, plugin, small_run

import plastibench
from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry
from plastibench.profiling.spec_cost import spec_costs
from plastibench.store.run_store import Store
from plastibench.workflows.shards import read_costs, write_costs

GRID = ("--method", "cold,warm", "--seeds", 3)


def finished(home: Path) -> set[str]:
    return set(Store(home).ids())


@pytest.mark.heavy
def test_shards_execute_every_run_once_whatever_is_finished_when_they_start(tmp_path: Path) -> None:
    done, splits = set[str](), set[str]()
    for shard in ("2/3", "1/3", "3/3"):
        result = small_run(tmp_path, *GRID, "--shard", shard)
        assert result.status == 0, result.err
        line = next(line for line in result.lines() if line.startswith("shard"))
        found = re.fullmatch(rf"shard {shard}: 2 of 6 runs \(split (\w+)\)", line)
        assert found is not None, line
        splits.add(found[1])
        assert len(finished(tmp_path) - done) == 2
        assert f"(shard {shard}: 2 of 6 runs, seed" in result.out
        assert f"shard {shard}: without cold seed" in result.out
        done = finished(tmp_path)
    assert len(splits) == 1
    again = small_run(tmp_path, *GRID, "--shard", "1/3")
    assert "all 2 runs are finished already, nothing to do" in again.err
    assert [path.read_text().count('"event":"start"') for path in tmp_path.rglob("events.jsonl")] == [1] * 6


STUMBLES = """
def start(self, learner):
    from pathlib import Path
    mark = Path({mark!r})
    if not mark.exists():
        mark.touch()
        raise KeyboardInterrupt
"""


@pytest.mark.heavy
def test_shards_of_resume_divide_what_was_asked_for_not_what_is_left(tmp_path: Path) -> None:
    file = plugin(tmp_path, "stumbles", STUMBLES.format(mark=str(tmp_path / "mark")))
    home = tmp_path / "home"
    words = ("--plugin", file, "--method", "stumbles,warm", "--seeds", 2, "--jobs", 1)
    assert small_run(home, *words).status == 130
    file.unlink()
    assert finished(home) == set()
    for shard, num_finished in (("1/2", 2), ("1/2", 2), ("2/2", 4)):
        result = command("resume", "--no-mlflow", "--home", home, "--jobs", 1, "--shard", shard)
        assert f"shard {shard}: 2 of 4 runs" in result.err
        assert len(finished(home)) == num_finished
        assert (f"(shard {shard}: 2 of 4 runs" in result.out) is ("nothing to do" not in result.err)


def test_known_costs_divide_and_must_cover_all_runs(tmp_path: Path) -> None:
    settings = dict(word.split("=") for word in SMALL if "=" in word)
    specs = Grid(("digits",), ("cold", "warm"), seeds=(0, 1), settings=settings).specs(Registry())
    write_costs(tmp_path / "costs.json", {spec.id: 3600.0 * (spec == specs[0]) for spec in specs[1:]})
    with pytest.raises(RequestError, match=f"lack 1 run, such as {specs[0].id}"):
        plastibench.run(
            task="digits",
            methods=["cold", "warm"],
            seeds=2,
            settings=settings,
            home=tmp_path,
            shard="1/2",
            costs=tmp_path / "costs.json",
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-1", "1.5", "true", "null", '"5"', "1" + 99 * "0"])
def test_a_cost_that_nobody_has_measured_is_refused(cost: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text(f'{{"milliseconds": {{"x": {cost}}}}}', encoding="utf-8")
    with pytest.raises(RequestError, match=r"costs\.json holds no costs of runs: `plastibench plan --save`"):
        read_costs(file, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "3/2"), "shard=3/2 is not allowed"),
        (("--shard", "0/2"), "shard=0/2 is not allowed"),
        (("--shard", "1/2/3"), "shard=1/2/3 is not allowed: write NUMBER/COUNT, such as 1/8"),
        (("--shard", "a"), "shard=a is not allowed"),
        (("--shard", "1/200000"), "COUNT at most 100,000"),
        (("--costs", "x.json"), "--costs means nothing without --shard"),
        (("--shard", "1/2", "--costs", "x.json"), "costs x.json cannot be read: No such file"),
        (("--run-timeout", "0"), "write seconds above 0"),
    ],
)
def test_bad_shards_are_refused_in_one_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = small_run(tmp_path, *GRID, *words)
    assert result.status == 2
    (line,) = result.lines()
    assert message in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.heavy
def test_costs_of_descriptions_follow_model_steps_and_optimizer() -> None:
    def cost(**settings: str) -> int:
        small = {"stages": "2", "max_steps": "100", "target_accuracy": "none", **settings}
        (spec,) = Grid(("digits",), ("warm",), seeds=(0,), settings=small).specs(Registry())
        return spec_costs([spec], Registry())[spec.id]

    usual = cost()
    assert cost(stages="4") == pytest.approx(2 * usual, rel=0.1)
    assert cost(max_steps="200") == pytest.approx(2 * usual, rel=0.1)
    assert cost(optimizer="sam") == pytest.approx(2 * usual, rel=0.1)
    assert cost(width="32") > 1.5 * cost(width="8")

"""A plan: counts, what finished runs and timed stages tell, and the file of costs for shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import command, small_run

from plastibench.cli.plan_output import plan_lines, plan_table
from plastibench.devices import Cpu
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.runner.workspace import Workspace
from plastibench.store.run_store import Store
from plastibench.training.cost import COST_COLUMNS
from plastibench.workflows.plan import Plan, PlanRequest, plan
from plastibench.workflows.request import RunOptions, Selection

SETTINGS = {"stages": "3", "width": "4", "train_size": "130"}


def finish(home: Path, method: str, seed: int, seconds: float) -> Spec:
    """Store a run each of whose three stages took so many seconds and a TFLOP."""
    workspace = Workspace(home=home)
    (spec,) = Grid(("digits",), (method,), seeds=(seed,), settings=SETTINGS).specs(workspace.registry)
    row = {**dict.fromkeys(COST_COLUMNS, 0), "test_accuracy": 0.5, "train_seconds": seconds}
    row |= {"train_flops": 10**12, "peak_memory": 2**30}
    with workspace.store.open(spec) as writer:
        for index in range(3):
            num_train = 44 + 43 * index
            writer.append({**row, "index": index, "num_train": num_train, "stop": "target_accuracy"})
        writer.finish("done", {"device": Cpu().name(), "threads": 1, "seconds": 3 * seconds})
    return spec


def plan_of(home: Path, methods: str, seeds: int, save: Path | None = None) -> Plan:
    selection = Selection(
        workspace=Workspace(home=home),
        tasks=("digits",),
        methods=tuple(methods.split(",")),
        seeds=tuple(range(seeds)),
        settings=SETTINGS,
    )
    return plan(PlanRequest(selection=selection, options=RunOptions(jobs=2, threads=1), save=save))


def test_finished_runs_tell_what_the_others_take(tmp_path: Path) -> None:
    done = [finish(tmp_path, method, seed, 600.0) for method, seed in (("warm", 0), ("warm", 1), ("cold", 0))]
    save = tmp_path / "new" / "costs.json"
    found = plan_of(tmp_path, "warm,cold", 3, save)
    warm, cold = found.methods
    assert (warm.method, warm.num_runs, warm.num_done, warm.source) == ("warm", 3, 2, "finished runs")
    assert (cold.method, cold.num_runs, cold.num_done, cold.source) == ("cold", 3, 1, "finished runs")
    assert warm.run_seconds == pytest.approx(1800, rel=0.01)
    assert warm.run_flops == pytest.approx(3e12, rel=0.01)
    assert warm.run_memory == 2**30
    assert found.seconds == pytest.approx(3 * 1800 / 2, rel=0.01)
    costs = json.loads(save.read_text())["milliseconds"]
    assert {run for run, cost in costs.items() if cost == 0} == {spec.id for spec in done}
    assert [cost for cost in costs.values() if cost] == [pytest.approx(1_800_000, rel=0.01)] * 3
    assert [row[0].text for row in plan_table(found).rows] == [
        "digits small_resnet warm",
        "digits small_resnet cold",
    ]
    first, *lines = plan_lines(found)
    assert first.startswith("6 runs, 3 done, 3 to do: about 45 min (35 min to 55 min), 2 at a time with 1 th")
    assert "FLOPs: 9 TFLOPs" in lines


def test_a_plan_of_finished_runs_says_so(tmp_path: Path) -> None:
    finish(tmp_path, "warm", 0, 1.0)
    assert plan_lines(plan_of(tmp_path, "warm", 1)) == ["1 run, all done"]


@pytest.mark.heavy
def test_timed_stages_foresee_the_work_of_runs(tmp_path: Path) -> None:
    words = ("--task", "digits", "--method", "warm,dash", "--set", "target_accuracy=none")
    short = tuple(
        w for name in ("stages=2", "max_epochs=1", "width=4", "train_size=130") for w in ("--set", name)
    )
    found = json.loads(command("plan", *words, *short, "--seeds", 1, "--home", tmp_path, "--json").out)[
        "plan"
    ]
    assert list(tmp_path.iterdir()) == [], "nothing is written"
    assert {method["source"] for method in found["methods"]} == {"timed stages"}
    assert found["process_memory"] > 2**27
    assert small_run(tmp_path, *words).status == 0
    for record, method in zip(
        sorted(Store(tmp_path).records(), key=lambda record: record.spec.method.name, reverse=True),
        found["methods"],
        strict=True,
    ):
        assert record.spec.method.name == method["method"]
        assert record.provenance["process_memory"] <= found["process_memory"] + 2**25
        names = ("train_flops", "remedy_flops", "evaluation_flops")
        work = sum(row[name] for row in record.stages for name in names)
        assert method["run_flops"] == pytest.approx(work, rel=0.2)
        assert method["run_disk"] == pytest.approx(folder_size(tmp_path, record.id), rel=0.5)


def folder_size(home: Path, run: str) -> int:
    return sum(path.stat().st_size for path in Store(home).folder(run).iterdir())

"""The number of threads of a run follows from measurement, which is kept for the model and the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.commands import command

from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.profiling.threads import FILE, ThreadChoice, choose, choose_threads
from plastibench.runner.context import RunContext
from plastibench.runner.workspace import Workspace
from plastibench.system.cpu import WAIT_VARIABLES, wait_briefly, wait_policy


@pytest.mark.parametrize(
    ("seconds", "most", "threads"),
    [
        ({1: 1.0, 2: 1.5}, 2, 1),
        ({1: 1.0, 2: 0.75}, 2, 1),
        ({1: 1.0, 2: 0.55}, 2, 2),
        ({1: 1.0, 2: 0.55, 4: 0.3, 8: 0.25}, 16, 4),
        ({1: 1.0, 2: 0.6, 3: 0.39}, 3, 3),
        ({1: 1.0}, 1, 1),
    ],
)
def test_more_threads_are_taken_as_long_as_they_pay(
    seconds: dict[int, float], most: int, threads: int
) -> None:
    assert choose(seconds.__getitem__, most) == ThreadChoice(threads, seconds)


def context_and_specs(cache: Path) -> tuple[RunContext, list[Spec]]:
    context = RunContext(Workspace(home=cache, data=cache, cache=cache), "cpu")
    grid = Grid(("digits",), ("warm", "cold"), models=("small_resnet", "mlp_bn"), settings={"width": "4"})
    return context, grid.specs(context.registry)


def test_a_measurement_is_of_each_model_and_leaves_no_trace(tmp_path: Path) -> None:
    context, specs = context_and_specs(tmp_path)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = choose_threads(specs, context, 2)
    assert found.keys() == {spec.condition_id for spec in specs}
    assert len(found) == 2
    assert all(1 in choice.seconds and choice.threads in (1, 2) for choice in found.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 1


def test_what_was_measured_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, specs = context_and_specs(tmp_path)
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 0.0, 0.0))
    choose_threads(specs, context, 2)
    assert not (tmp_path / FILE).exists(), "a busy machine tells about that moment alone"
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    first = choose_threads(specs, context, 2)
    kept = json.loads((tmp_path / FILE).read_text())
    assert len(kept) == 2
    for one in kept.values():
        one["threads"] = 7
    (tmp_path / FILE).write_text(json.dumps(kept))
    again = choose_threads(specs, context, 2)
    assert {choice.threads for choice in again.values()} == {7}
    assert [choice.seconds for choice in again.values()] == [choice.seconds for choice in first.values()]
    (tmp_path / FILE).write_text("{")
    assert {choice.threads for choice in choose_threads(specs, context, 2).values()} <= {1, 2}


def test_waiting_threads_sleep_unless_the_user_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    wait_briefly()
    assert wait_policy() == "GOMP_SPINCOUNT=1000"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_briefly()
    assert wait_policy() == "OMP_WAIT_POLICY=active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    wait_briefly()
    assert wait_policy() == "OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=1000"


def test_doctor_says_how_threads_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    out = command("doctor", "--home", tmp_path).out
    assert "threads        at most 3 for all runs, OMP_WAIT_POLICY=active" in out

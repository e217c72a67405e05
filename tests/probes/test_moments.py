"""Probes measure at the moments that they declare, whatever else the run does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, ClassVar

import pytest
import torch
from support.tasks import captured_digits, small_digits

from plastibench.api import Learner, Method, Probe, Task
from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.real_cost import count_passes, real_flops_counter
from plastibench.testing.run_trace import data_context, trace_interrupted_run, trace_run
from plastibench.testing.trace_diff import assert_equal_runs
from plastibench.training.cost import PROBE_COSTS
from plastibench.training.learner import Learner as RealLearner
from plastibench.training.protocol import Measures

NAMES = Registry().names("probe")
MOMENTS = ("arrival", "stage_start", "epoch_1", "epoch_2", "epoch_3", "stage_end")


@dataclass(frozen=True, kw_only=True)
class State(Probe):
    """The number of steps and the size of the weights at every moment."""

    units: ClassVar[Mapping[str, str]] = {"steps": "steps", "size": "", "draw": ""}
    moments: ClassVar[tuple[str, ...]] = MOMENTS

    def measure(self, learner: Learner) -> Mapping[str, float]:
        size = sum(float(w.detach().abs().sum()) for w in learner.model.parameters())
        return {
            "steps": learner.step,
            "size": size,
            "draw": float(torch.rand((), generator=learner.generator)),
        }


@dataclass(kw_only=True)
class Vanishing(Method):
    """Set all weights to 0 between stages."""

    def before_stage(self, learner: Learner) -> None:
        for weight in learner.model.parameters():
            weight.zero_()


def rows_of(task: Task, method: Method, probe: Probe, **options: Any) -> list[dict[str, Any]]:
    return trace_run(task, method, measures=Measures(probes={"p": probe}), **options).rows()


def test_a_method_acts_between_arrival_and_the_start_of_the_stage(task: Task) -> None:
    rows = rows_of(task, Vanishing(), State())
    assert rows[1]["p.size.arrival"] == rows[0]["p.size.stage_end"] > 0
    assert rows[1]["p.size.stage_start"] == 0
    assert rows[1]["p.size.epoch_1"] > 0
    steps = [rows[1][f"p.steps.{moment}"] - rows[0]["p.steps.stage_end"] for moment in MOMENTS]
    per_epoch = rows[1]["steps"] / rows[1]["epochs"]
    assert steps[:4] == [0, 0, per_epoch, 2 * per_epoch]
    assert math.isnan(steps[4]), "a stage of two epochs has no third"
    assert steps[5] == rows[1]["steps"]


def test_a_probe_draws_the_same_at_all_moments_of_a_stage(task: Task) -> None:
    rows = rows_of(task, Method(), State())
    draws = [{row[f"p.draw.{moment}"] for moment in MOMENTS if moment != "epoch_3"} for row in rows]
    assert [len(drawn) for drawn in draws] == [1, 1, 1]
    assert len(set.union(*draws)) == 3


@pytest.mark.heavy
def test_values_within_a_stage_survive_an_interruption(task: Task) -> None:
    measures = Measures(probes={"p": State()})
    pieces, interruptions = trace_interrupted_run(task, Method, every=1, measures=measures)
    assert interruptions > 6
    assert_equal_runs(pieces, trace_run(task, Method(), measures=measures), "interrupted and not")


def test_values_within_a_stage_are_those_of_steps_that_are_replayed(registry: Registry) -> None:
    task = captured_digits(registry)
    replayed, eager = (rows_of(task, Method(), State(), device=d) for d in (CapturingCpu(), FusedCpu()))
    assert str(replayed) == str(eager)


def test_time_within_a_stage_counts_as_the_probes_and_not_as_training(task: Task) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Slow(Probe):
        units: ClassVar[Mapping[str, str]] = {"x": ""}
        moments: ClassVar[tuple[str, ...]] = ("arrival", "epoch_1")

        def measure(self, learner: Learner) -> Mapping[str, float]:
            x, y = next(learner.stage.train.batches(8))
            learner.backward(learner.model, x, y)
            sleep(0.2)
            return {"x": 0.0}

    trace_run(task, Method())  # counts the FLOPs of a pass, once for a model, which is in no phase
    start = perf_counter()
    results = trace_run(task, Method(), measures=Measures(probes={"slow": Slow()})).results
    whole = perf_counter() - start
    rows = [result.as_dict() for result in results]
    seconds = [value for row in rows for name, value in row.items() if name.endswith("_seconds")]
    assert rows[1]["probe_seconds"] >= 2 * 0.2
    assert sum(seconds) < whole, "no second counts twice, however busy the machine is"
    assert (rows[1]["probe_passes"], rows[1]["remedy_passes"]) == (2 * 8, 0)


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["small_resnet", "mlp_bn"])
def test_the_counted_cost_of_a_probe_is_its_real_cost(registry: Registry, name: str, model: str) -> None:
    task = small_digits(registry, model)
    learner = RealLearner(task, Method(), 0, get_device("cpu"))
    learner.begin_stage(list(task.stream(0, data_context()))[1])
    few: dict[str, dict[str, Any]] = {
        "trainability": {"steps": 3},
        "optimization_readiness": {"num_batches": 4},
    }
    probe, twin = registry.load("probe", name)(**few.get(name, {})), learner.clone("test")
    probe.measure(
        learner.clone("first")
    )  # finds head and units on two black images, once for an architecture
    with count_passes(num_classes=10) as real, real_flops_counter() as counter:
        probe.measure(twin)
    cost = twin.cost
    assert cost.train_passes + cost.remedy_passes == real.forward_backward
    assert cost.remedy_forwards + cost.evaluation_forwards == real.forward_only
    assert sum(part.flops or 0 for part in cost.phases.values()) == counter.get_total_flops()


def test_a_run_without_probes_has_no_columns_of_their_cost(task: Task) -> None:
    assert not set(PROBE_COSTS) & trace_run(task, Method()).results[0].as_dict().keys()


@pytest.mark.heavy
def test_the_gap_of_a_warm_start_is_the_difference_to_the_cold_start(registry: Registry) -> None:
    task = small_digits(registry, recipe={"max_epochs": 3, "learning_rate": 0.02})
    gap = registry.load("probe", "plasticity_gap")()
    warm, cold = (rows_of(task, registry.load("method", name)(), gap) for name in ("warm", "cold"))
    for one, other in zip(warm, cold, strict=True):
        assert one["p.fresh_accuracy"] == other["test_accuracy"]
        assert one["p.gap"] == other["test_accuracy"] - one["test_accuracy"]
        assert one["p.fresh_steps"] == other["steps"]
        assert other["p.gap"] == 0
    assert any(row["p.gap"] for row in warm)


def test_the_gap_is_measured_at_the_stages_chosen_and_without_the_test_data(registry: Registry) -> None:
    task = small_digits(registry, validation=0.2)
    probe = registry.load("probe", "plasticity_gap")(stages=(1,))
    held_out = Measures(held_out_test=True, probes={"p": probe})
    rows = trace_run(task, Method(), measures=held_out).rows()
    assert [math.isnan(row["p.gap"]) for row in rows] == [True, False, True]


@pytest.mark.heavy
def test_accuracy_on_earlier_data_falls_when_a_remedy_forgets_them(registry: Registry) -> None:
    task = small_digits(registry, recipe={"max_epochs": 6, "learning_rate": 0.05})
    rows = rows_of(task, Vanishing(), registry.load("probe", "old_accuracy")())
    assert all(math.isnan(rows[0][f"p.accuracy.{moment}"]) for moment in ("arrival", "epoch_1", "stage_end"))
    assert rows[1]["p.accuracy.arrival"] > 0.5
    assert rows[1]["p.accuracy.stage_start"] < 0.3
    kept = rows_of(task, Method(), registry.load("probe", "old_accuracy")())[1]
    assert kept["p.accuracy.arrival"] == kept["p.accuracy.stage_start"]


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (
            '("stage_begin",)',
            "'stage_begin' in moments of Mine is no moment: there are arrival, stage_start,",
        ),
        ('("epoch_0",)', "'epoch_0' in moments of Mine is no moment"),
        ("()", "moments of Mine must be one or more different ones"),
        ('("arrival", "arrival")', "moments of Mine must be one or more different ones"),
    ],
)
def test_moments_that_no_stage_has_are_refused(tmp_path: Path, moments: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '"""Mine."""\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n'
        "from plastibench.api import Probe\n\n\n@dataclass(frozen=True, kw_only=True)\nclass Mine(Probe):\n"
        f'    """Mine."""\n\n    units: ClassVar = {{"x": ""}}\n    moments: ClassVar = {moments}\n\n'
        '    def measure(self, learner):\n        return {"x": 0.0}\n'
    )
    with pytest.raises(RequestError, match=message):
        Registry([file]).load("probe", "mine")

"""Probes measure what they say and change nothing of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from support.commands import CommandResult, small_run
from support.pairs import some_of
from support.tasks import small_digits
from support.zoo import PARAMETRIZED, PLAIN, zoo_task

from plastibench.analysis.dataframe import to_dataframe
from plastibench.analysis.tables.table import build_tables
from plastibench.api import Learner, Method, Probe, Task, parameters_in
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec
from plastibench.plugins.layers import unsupported_weights
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store
from plastibench.testing import laws
from plastibench.testing.run_trace import data_context, trace_interrupted_run, trace_run
from plastibench.testing.trace_diff import assert_equal_runs
from plastibench.training.learner import Learner as RealLearner
from plastibench.training.protocol import Measures

NAMES = Registry().names("probe")


FEW: dict[str, dict[str, Any]] = {
    "trainability": {"steps": 2, "examples": 8},
    "optimization_readiness": {"num_batches": 2},
    "local_redundancy": {"examples": 32},
    "plasticity_gap": {"stages": (1,)},
}
"""Settings with which a probe does all that it does, but less often."""


def shipped(registry: Registry) -> dict[str, Probe]:
    return {name: registry.load("probe", name)(**FEW.get(name, {})) for name in NAMES}


@dataclass(frozen=True, kw_only=True)
class Destructive(Probe):
    """Changes everything that it can reach."""

    units: ClassVar[Mapping[str, str]] = {"draw": ""}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        draw = float(torch.rand(())) + float(torch.rand((), generator=learner.generator))
        x, y = next(iter(learner.stage.train.batches(8)))
        learner.model.train()

        def backward() -> float:
            learner.backward(learner.model, x, y)
            return 0.0

        learner.optimizer.step(backward)
        learner.reset_optimizer_state(learner.model.parameters())
        with torch.no_grad():
            for parameter in learner.model.parameters():
                parameter.zero_().requires_grad_(False)
        learner.restart()
        learner.step += 1
        torch.set_grad_enabled(False)
        return {"draw": draw}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("method", "optimizer"),
    [
        ("dash", "sgd"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("warm", "sgd"),
                ("shrink_perturb", "sgd"),
                ("l2_init", "sgd"),
                ("shrink_perturb", "sam"),
                ("l2_init", "adam"),
            )
        ),
    ],
)
def test_probes_change_nothing(registry: Registry, method: str, optimizer: str) -> None:
    task = small_digits(registry, recipe={"optimizer": optimizer})
    probes = {**shipped(registry), "destructive": Destructive()}
    laws.probes_change_nothing(task, registry.load("method", method), probes)


@pytest.mark.heavy
def test_measurements_are_the_same_after_an_interruption(task: Task, registry: Registry) -> None:
    measures = Measures(probes={**shipped(registry), "destructive": Destructive()})
    pieces, _ = trace_interrupted_run(task, Method, every=3, measures=measures)
    assert_equal_runs(pieces, trace_run(task, Method(), measures=measures), "interrupted and not")


def test_each_probe_has_random_streams_of_its_own(task: Task) -> None:
    measures = Measures(probes={"one": Destructive(), "two": Destructive()})
    rows = trace_run(task, Method(), measures=measures).rows()
    assert len({row[name] for row in rows for name in ("one.draw", "two.draw")}) == 2 * len(rows)


@dataclass(frozen=True, kw_only=True)
class Forgetful(Probe):
    """Returns less than it declares."""

    units: ClassVar[Mapping[str, str]] = {"a": "", "b": ""}

    def measure(self, learner: Learner) -> Mapping[str, float]:
        return {"a": 0.0}


def test_a_probe_must_return_what_it_declares(task: Task) -> None:
    with pytest.raises(
        RequestError, match=r"probe x \(Forgetful in .*test_probes.py\) returns a, but declares a, b"
    ):
        trace_run(task, Method(), measures=Measures(probes={"x": Forgetful()}))


def learner_of(task: Task) -> RealLearner:
    learner = RealLearner(task, Method(), 0, data_context().device)
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    return learner


def test_weight_norm_is_the_norm_of_all_parameters_as_one_vector(task: Task, registry: Registry) -> None:
    learner = learner_of(task)
    vector = torch.cat([w.detach().flatten() for w in learner.model.parameters()])
    measured = registry.load("probe", "weight_norm")().measure(learner)
    assert measured["l2"] == pytest.approx(float(vector.norm()))


def test_distance_from_init_is_zero_at_first_and_that_of_a_known_change_later(
    task: Task, registry: Registry
) -> None:
    learner, probe = learner_of(task), registry.load("probe", "distance_from_init")()
    assert probe.measure(learner) == {"l2": 0.0, "relative": 0.0}
    norm = registry.load("probe", "weight_norm")().measure(learner)["l2"]
    with torch.no_grad():
        for weight in learner.model.parameters():
            weight.mul_(1.5)
    assert probe.measure(learner)["l2"] == pytest.approx(norm / 2, rel=1e-5)
    assert probe.measure(learner)["relative"] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 17, 500])
def test_gradient_norm_is_that_of_the_mean_loss_on_the_newest_chunk(
    registry: Registry, batch_size: int
) -> None:
    learner = learner_of(task := small_digits(registry, stages=2))
    learner.begin_stage(list(task.stream(0, data_context()))[1])
    stage = learner.stage
    x, y = next(iter(stage.train[len(stage.train) - stage.num_new :].batches(500)))
    model = learner.model.eval()
    gradients = torch.autograd.grad(learner.loss(model(x), y), parameters_in(model, "all"))
    norm = float(torch.cat([g.flatten() for g in gradients]).norm())
    probe = registry.load("probe", "gradient_norm")(batch_size=batch_size)
    assert probe.measure(learner)["l2"] == pytest.approx(norm, rel=1e-4)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CommandResult]:
    """Return a home with runs of two methods, without and then with probes, and the last answer."""
    home = tmp_path_factory.mktemp("home")
    small_run(home, "--task", "digits", "--method", "warm,cold")
    probes = ("--probe", "weight_norm,gradient_norm", "--set", "gradient_norm.scope=layers")
    answer = small_run(home, "--task", "digits", "--method", "warm,cold", *probes)
    assert answer.status == 0, answer.err
    return home, answer


def probed(home: Path) -> tuple[list[Spec], list[Spec]]:
    specs = [record.spec for record in Store(home).records()]
    return [spec for spec in specs if spec.probes], [spec for spec in specs if not spec.probes]


@pytest.mark.heavy
def test_runs_with_probes_are_runs_of_their_own_under_the_same_condition(
    home: tuple[Path, CommandResult],
) -> None:
    with_probes, without = probed(home[0])
    assert len(with_probes) == len(without) == 2
    assert {spec.without_probes().id for spec in with_probes} == {spec.id for spec in without}
    assert len({spec.condition_id for spec in (*with_probes, *without)}) == 1
    assert {probe.name: probe.settings["scope"] for probe in with_probes[0].probes} == {
        "weight_norm": "all",
        "gradient_norm": "layers",
    }


def test_measurements_are_columns_of_the_data_frame(home: tuple[Path, CommandResult]) -> None:
    table: Any = to_dataframe(Store(home[0]).records())
    assert len(table) == 8
    assert table["weight_norm.l2"].notna().sum() == 4
    assert (table["probe_seconds"].dropna() > 0).all()
    assert table.attrs["units"] == {"weight_norm.l2": "", "gradient_norm.l2": "loss per unit of weight"}


def test_tables_count_a_run_once_that_was_made_with_and_without_probes(
    home: tuple[Path, CommandResult],
) -> None:
    (table,) = build_tables(Store(home[0]).records(), "warm")
    assert {row.method: row.seeds for row in table.rows} == {"cold": (0,), "warm": (0,)}
    assert [len(row.records) for row in table.rows] == [1, 1]


@pytest.mark.heavy
def test_the_distance_is_measured_if_weights_are_frozen_and_refused_if_they_grow(registry: Registry) -> None:
    class Freezes(Method):
        def before_stage(self, learner: Learner) -> None:
            learner.model[0].requires_grad_(False)  # type: ignore[index]

    class Grows(Method):
        def before_stage(self, learner: Learner) -> None:
            head = learner.head
            head.weight = torch.nn.Parameter(torch.cat([head.weight, head.weight]))
            head.bias = torch.nn.Parameter(torch.cat([head.bias, head.bias]))
            learner.reset_optimizer()

    task = small_digits(registry, recipe={"max_epochs": 1}, stages=2)
    measures = Measures(probes={"distance": registry.load("probe", "distance_from_init")()})
    frozen = trace_run(task, Freezes(), measures=measures).results
    assert frozen[1].probes["distance.l2"] > frozen[0].probes["distance.l2"]
    with pytest.raises(ValueError, match=r"has the shape \(20, .*\), but \(10, .*\) at the start of the run"):
        trace_run(task, Grows(), measures=measures)


NEED_UNITS = {"dead_units", "dormant_units"}
NEED_WEIGHTS = {"weight_norm", "distance_from_init", "gradient_norm"}


@pytest.mark.parametrize("model", some_of([*PLAIN, *PARAMETRIZED], 2))
def test_every_probe_measures_every_model_or_refuses_it_before_the_run(
    registry: Registry, model: str
) -> None:
    task, probes = zoo_task(registry, model), shipped(registry)

    def refusal(probe: Probe) -> str | None:
        try:
            return probe.unsupported(task) or unsupported_weights(probe, task.model)
        except RequestError as error:
            return str(error)

    refused = {name for name, probe in probes.items() if refusal(probe)}
    allowed = {*NEED_UNITS, *(NEED_WEIGHTS if model in PARAMETRIZED else ()), "feature_rank"}
    assert refused <= (allowed if model in PARAMETRIZED else NEED_UNITS)
    measured = {name: probe for name, probe in probes.items() if name not in refused}
    laws.probes_change_nothing(task, Method, measured)

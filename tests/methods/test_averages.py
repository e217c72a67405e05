"""Averages of weights against plain transcriptions of their formulas, and their pitfalls."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training import protocol
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner

State = dict[str, Tensor]
METHODS = ("ema", "stage_soup", "hare_tortoise")


@pytest.fixture
def task(registry: Registry) -> Task:
    return small_digits(registry, recipe={"learning_rate": 0.05, "batch_size": 32})


def recorded_run(task: Task, method: Method) -> list[list[State]]:
    """Return the weights of the model that is trained, after each step of each stage of a run.

    The method itself is the one that runs, so that its state can be looked at afterwards.
    """
    stages: list[list[State]] = []
    cls = type(method)

    def after_step(self: Method, learner: Learner) -> None:
        if len(stages) == learner.stage.index:
            stages.append([])
        cls.after_step(self, learner)
        stages[-1].append(state_of(learner.model))

    hooked = copy.copy(method)
    hooked.__class__ = type(cls.__name__, (cls,), {"after_step": after_step})
    list(protocol.run(task, hooked, 0, data_context()))
    return stages


def state_of(model: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def initial(task: Task) -> State:
    return state_of(Learner(task, Method(), 0, get_device("cpu")).model)


def floats(state: State) -> State:
    return {name: value for name, value in state.items() if value.is_floating_point()}


def weights(state: State) -> State:
    return {name: value for name, value in floats(state).items() if "running" not in name}


def assert_close(found: State, expected: State) -> None:
    assert found.keys() >= expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.heavy
def test_ema_is_the_moving_average_of_the_weights_of_all_steps(
    registry: Registry, task: Task, bias_correction: bool
) -> None:
    cls = registry.load("method", "ema")
    method = cls(rate=0.1, bias_correction=bias_correction, statistics="averaged")
    found = trace_run(task, method).weights
    average, total = floats(initial(task)), 0.0
    for index, steps in enumerate(recorded_run(task, method)):
        for step in map(floats, steps):
            if bias_correction:  # a sum of weights with factors that add up to one
                total = 0.9 * total + 0.1
                share = 0.1 / total
            else:
                share = 0.1
            average = {name: (1 - share) * average[name] + share * step[name] for name in average}
        assert_close(found[index], average)


@pytest.mark.heavy
def test_ema_never_changes_what_is_trained(registry: Registry, task: Task) -> None:
    warm = recorded_run(task, Method())
    for name in ("ema", "stage_soup"):
        averaged = recorded_run(task, registry.load("method", name)())
        for a, b in zip(warm[-1], averaged[-1], strict=True):
            assert all(torch.equal(a[key], b[key]) for key in a), name


@pytest.mark.parametrize("models", [2, 3])
@pytest.mark.heavy
def test_a_soup_is_the_mean_of_the_last_ends_of_stages(registry: Registry, task: Task, models: int) -> None:
    method = registry.load("method", "stage_soup")(models=models, statistics="averaged")
    found = trace_run(task, method).weights
    ends = [floats(steps[-1]) for steps in recorded_run(task, Method())]
    for index in range(len(ends)):
        last = ends[max(0, index + 1 - models) : index + 1]
        assert_close(
            found[index],
            {name: sum((end[name] for end in last[1:]), last[0][name]) / len(last) for name in last[0]},
        )


@pytest.mark.parametrize("name", ["ema", "stage_soup"])
@pytest.mark.heavy
def test_statistics_of_an_average_are_measured_on_the_training_data_and_counted(
    registry: Registry, task: Task, name: str
) -> None:
    cls = registry.load("method", name)
    measured, averaged = (
        trace_run(task, cls(statistics=statistics)) for statistics in ("reestimated", "averaged")
    )
    for result, without in zip(measured.results, averaged.results, strict=True):
        assert result.cost.remedy_forwards == result.num_train
        assert without.cost.remedy_forwards == 0
    stage = list(task.stream(0, data_context()))[-1]
    model = task.model()
    model.load_state_dict(averaged.weights[-1])
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        for x, _ in stage.train.batches(task.recipe.batch_size):
            model.train()(x)
    assert_close(measured.weights[-1], floats(state_of(model)))
    variance = next(key for key in measured.weights[-1] if key.endswith("running_var"))
    assert not torch.allclose(measured.weights[-1][variance], averaged.weights[-1][variance], rtol=1e-3)


def hare_and_tortoise(
    task: Task, rate: float, period: int, num_steps: list[int]
) -> list[tuple[State, State]]:
    """Return hare and tortoise after each stage by a plain loop."""
    learner = Learner(task, Method(), 0, get_device("cpu"))
    tortoise, ends = floats(initial(task)), []
    for stage, steps in zip(task.stream(0, data_context()), num_steps, strict=True):
        if stage.index:
            learner.model.load_state_dict(tortoise, strict=False)
        learner.begin_stage(stage)
        learner.model.train()
        order = torch.Generator()
        order.set_state(order_of(learner))
        taken = 0
        while taken < steps:
            shuffled = torch.randperm(len(stage.train), generator=order)
            for x, y in stage.train.batches(task.recipe.batch_size, shuffled):
                learner.optimizer.zero_grad()
                nn.functional.cross_entropy(learner.model(x), y).backward()
                learner.optimizer.step()
                taken += 1
                hare = floats(state_of(learner.model))
                tortoise = {name: (1 - rate) * tortoise[name] + rate * hare[name] for name in hare}
            if taken // learner.steps_per_epoch() % period == 0:
                learner.model.load_state_dict(tortoise, strict=False)
        ends.append((floats(state_of(learner.model)), tortoise))
    return ends


def order_of(learner: Learner) -> Tensor:
    from plastibench.seeding import generator

    return generator(learner.seed, "order", learner.stage.index).get_state()


@pytest.mark.heavy
@pytest.mark.parametrize("period", [2, 3])
def test_hare_and_tortoise_are_those_of_a_plain_loop(registry: Registry, period: int) -> None:
    task = small_digits(registry, recipe={"learning_rate": 0.05, "batch_size": 32, "max_epochs": 4})
    cls = registry.load("method", "hare_tortoise")
    make: Callable[..., Any] = partial(cls, rate=0.2, period=period)
    traces = {who: trace_run(task, make(evaluate=who)) for who in ("hare", "tortoise")}
    steps = [result.cost.steps for result in traces["hare"].results]
    for index, (hare, tortoise) in enumerate(hare_and_tortoise(task, 0.2, period, steps)):
        assert_close(traces["hare"].weights[index], hare)
        assert_close(traces["tortoise"].weights[index], tortoise)
    for a, b in zip(*(trace.rows() for trace in traces.values()), strict=True):
        assert (a["test_accuracy"], a["log.tortoise_accuracy"]) == (
            b["log.hare_accuracy"],
            b["test_accuracy"],
        )
    last = [floats(trace.weights[-1]) for trace in traces.values()]
    assert all(torch.equal(a, b) for a, b in zip(*map(dict.values, last), strict=True)) == (4 % period == 0)


@pytest.mark.parametrize("name", METHODS)
def test_an_average_shares_no_memory_with_what_is_trained_and_counters_stay_whole(
    registry: Registry, task: Task, name: str
) -> None:
    seen: list[bool] = []
    cls = registry.load("method", name)

    class Watched(cls):  # type: ignore[misc,valid-type]
        def after_stage(self, learner: Learner) -> None:
            model = self.evaluated(learner)
            own = {tensor.data_ptr() for tensor in learner.model.state_dict().values()}
            seen.extend(tensor.data_ptr() in own for tensor in model.state_dict().values())
            counters = [v for key, v in model.state_dict().items() if key.endswith("num_batches_tracked")]
            assert counters
            assert not any(counter.is_floating_point() for counter in counters)
            before = state_of(model)
            with torch.no_grad():
                for parameter in learner.model.parameters():
                    parameter.add_(1.0)
            assert all(torch.equal(a, before[key]) for key, a in state_of(model).items())

    list(protocol.run(task, Watched(**cls.active), 0, data_context()))
    assert seen
    assert not any(seen)


def test_a_swap_is_almost_a_reset_while_the_tortoise_has_hardly_moved(registry: Registry) -> None:
    task = small_digits(registry, recipe={"learning_rate": 0.05, "batch_size": 32, "max_epochs": 1})
    first = weights(initial(task))

    def moved(rate: float) -> float:
        trace = trace_run(task, registry.load("method", "hare_tortoise")(rate=rate, evaluate="tortoise"))
        last = trace.weights[-1]
        squares = [float((last[name] - value).square().sum()) for name, value in first.items()]
        return math.sqrt(sum(squares))

    assert moved(1e-3) < 0.05 * moved(1.0)


@pytest.mark.heavy
@pytest.mark.parametrize("name", METHODS)
def test_a_probe_that_evaluates_an_average_changes_nothing(registry: Registry, task: Task, name: str) -> None:
    probes = {"plasticity_gap": registry.load("probe", "plasticity_gap")()}
    laws.probes_change_nothing(task, registry.load("method", name), probes)


def test_the_accuracy_that_a_method_asks_for_is_that_of_the_classes_known_so_far(
    registry: Registry, task: Task
) -> None:
    learner = Learner(task, Method(), 0, get_device("cpu"))
    stage = next(iter(task.stream(0, data_context())))
    assert stage.test is not None
    learner.begin_stage(replace(stage, num_classes=2))
    x, y = next(iter(stage.test.batches(len(stage.test))))
    data = stage.test.take((y < 2).nonzero().flatten())
    with torch.no_grad():
        best = learner.model.eval()(x[y < 2])[:, :2].argmax(1)
    assert learner.accuracy(learner.model, data) == pytest.approx(float((best == y[y < 2]).float().mean()))
    assert learner.cost.remedy_forwards == len(data)


def test_evaluation_of_an_average_is_of_the_average(registry: Registry, task: Task) -> None:
    method = registry.load("method", "ema")(rate=0.05)
    trace = trace_run(task, method)
    model = task.model()
    model.load_state_dict(trace.weights[-1])
    stage = list(task.stream(0, data_context()))[-1]
    assert stage.test is not None
    metrics = evaluate(model, stage.test, task.recipe, get_device("cpu"))
    assert metrics.num_correct == trace.results[-1].test_correct

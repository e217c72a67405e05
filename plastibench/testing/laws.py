"""The laws of methods. Each raises AssertionError, and says what differs, if a method breaks the law.

Those that run a method take its class, or `functools.partial(cls, setting=value)`; `testing.variants` has
the settings over which a law should hold. They share the runs that nothing disturbs (`run_trace.whole_run`):
taking the same task for all laws saves time.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace

import torch

from plastibench.devices import Device
from plastibench.plugins.fields import search_space, settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.probe import Probe
from plastibench.plugins.task import Task
from plastibench.plugins.values import from_json
from plastibench.seeding import derive_seed
from plastibench.store.checkpoint import pack
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.other_test import with_other_test
from plastibench.testing.real_cost import count_passes, real_flops_counter
from plastibench.testing.run_trace import (
    MakeMethod,
    equal_weights,
    hooked_after_stage,
    read_back,
    trace_interrupted_run,
    trace_run,
    whole_run,
)
from plastibench.testing.trace_diff import assert_equal_runs, assert_equal_trees
from plastibench.training import protocol, state
from plastibench.training.cost import PROBE_COSTS
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner
from plastibench.training.probing import units_of
from plastibench.training.stage_log import PREFIX

COSTS_OF_HOOKS = {"remedy_passes", "remedy_forwards", "remedy_flops", "elementwise_flops"}


def is_well_formed(cls: type[Method]) -> None:
    """A method is a dataclass whose docstring names its source; its settings survive JSON."""
    name = cls.__name__
    assert "__dataclass_fields__" in vars(cls), f"{name} lacks @dataclass"
    assert "arXiv" in (cls.__doc__ or ""), f"{name}'s docstring names no source (arXiv ...)"
    settings = settings_of(cls())
    again = settings_of(cls(**from_json(json.loads(json.dumps(settings)))))
    assert again == settings, f"the settings of {name} change in JSON: {settings} becomes {again}"
    for preset, values in cls.presets.items():
        assert settings_of(cls(**values)).items() >= dict(values).items(), f"preset {preset} is not kept"
    for setting, space in search_space(cls).items():
        inside = space.low <= settings[setting] <= space.high
        assert inside, f"the default of {name}.{setting} is outside its search range"


def disabled_method_equals_warm_start(task: Task, cls: type[Method]) -> None:
    """A method whose strength is off equals the method without hooks, bit for bit."""
    assert cls.disabled is not None, f"{cls.__name__} has no `disabled`: the settings that switch it off"
    plain, disabled = whole_run(task, Method()), whole_run(task, cls(**cls.disabled))
    what = f"{cls.__name__} with {dict(cls.disabled)} differs from a run without remedy"
    reports = {name for row in disabled.rows() for name in row if name.startswith(PREFIX)}
    assert_equal_runs(plain, disabled, what, ignore=COSTS_OF_HOOKS | reports)


def active_method_differs_from_warm_start(task: Task, cls: type[Method]) -> None:
    """A method changes the weights: the laws are not met by doing nothing.

    Its `active` settings are tried: its published ones may not act within the few steps of a law.
    """
    plain, active = whole_run(task, Method()), whole_run(task, cls(**cls.active))
    settings = dict(cls.active) or "its default settings"
    assert not equal_weights(plain.weights, active.weights), (
        f"{cls.__name__} with {settings} has the weights of a run without remedy: it does nothing within "
        f"{active.results[-1].cost.steps} steps of {len(active.results)} stages. "
        "Declare `active`, settings at which it does"
    )


def same_seed_gives_same_result(task: Task, make_method: MakeMethod) -> None:
    """The seed determines the result, and another seed gives another result."""
    method = make_method()
    first, second, other = whole_run(task, method), trace_run(task, method), trace_run(task, method, seed=1)
    name = type(method).__name__
    assert_equal_runs(first, second, f"two runs of {name} with the same seed")
    assert not equal_weights(first.weights, other.weights), f"two seeds of {name} give the same weights"


def first_stage_equals_warm_start(task: Task, make_method: MakeMethod) -> None:
    """A method that acts only between stages has the same first stage as every other such method."""
    method = make_method()
    name = type(method).__name__
    assert method.acts_only_between_stages(), f"{name} acts within stages: this law does not hold for it"
    plain, remedy = (whole_run(task, one).first_stage() for one in (Method(), method))
    assert_equal_runs(plain, remedy, f"the first stage of {name} is not that of a run without remedy")


def evaluation_changes_nothing(task: Task, make_method: MakeMethod) -> None:
    """One more evaluation changes neither the weights nor the modes nor the random streams of a learner."""

    def everything(learner: Learner) -> dict[str, object]:
        return {
            "weights": copy.deepcopy(learner.model.state_dict()),
            "modes": [module.training for module in learner.model.modules()],
            "streams": [torch.get_rng_state(), learner.generator.get_state()],
        }

    def evaluate_again(method: Method, learner: Learner) -> None:
        before = everything(learner)
        assert learner.stage.test is not None
        evaluate(method.evaluated(learner), learner.stage.test, task.recipe, learner.device)
        assert_equal_trees(before, everything(learner), f"before and after an evaluation of {method}")

    method = make_method()
    evaluated = trace_run(task, hooked_after_stage(method, before=evaluate_again))
    name = type(method).__name__
    assert_equal_runs(
        whole_run(task, method), evaluated, f"runs of {name} with and without an evaluation more"
    )


def probes_change_nothing(task: Task, make_method: MakeMethod, probes: Mapping[str, Probe]) -> None:
    """A run with probes has the same bits as one without, and their measurements in addition."""
    method = make_method()
    plain = whole_run(task, method)
    probed = trace_run(task, method, measures=protocol.Measures(probes=probes))
    prefixes = tuple(f"{name}." for name in probes)
    measured = {column for row in probed.rows() for column in row if column.startswith(prefixes)}
    ignore = {*measured, *PROBE_COSTS}
    assert_equal_runs(plain, probed, f"a probe changes a run of {type(method).__name__}", ignore=ignore)
    missing = units_of(probes).keys() - measured
    assert not missing, f"not measured: {', '.join(sorted(missing))}"


def test_data_change_nothing(task: Task, make_method: MakeMethod) -> None:
    """A run has the same weights if it holds the test data out, as in a tuning, and on other test data."""
    method = make_method()
    whole, name = whole_run(task, method), type(method).__name__
    held_out = trace_run(task, method, measures=protocol.Measures(held_out_test=True))
    message = f"runs of {name} with the test data and without them: weights"
    assert_equal_trees(whole.weights, held_out.weights, message)
    other = trace_run(with_other_test(task), method)
    assert_equal_trees(whole.weights, other.weights, f"runs of {name} on other test data: weights")


def counted_cost_equals_real_cost(task: Task, make_method: MakeMethod, num_classes: int) -> None:
    """The counted cost equals independent counts of examples that went through models, and of FLOPs."""
    method = make_method()
    whole_run(task, method)  # what is found once for each architecture, such as its head, is no cost of a run
    with count_passes(num_classes) as passes, real_flops_counter() as counter:
        costs = [result.cost for result in trace_run(task, method).results]
    real = {
        "passes forward and backward": passes.forward_backward,
        "passes forward only": passes.forward_only,
        "FLOPs": counter.get_total_flops(),
    }
    counted = {
        "passes forward and backward": sum(cost.train_passes + cost.remedy_passes for cost in costs),
        "passes forward only": sum(cost.evaluation_forwards + cost.remedy_forwards for cost in costs),
        "FLOPs": sum(phase.flops or 0 for cost in costs for phase in cost.phases.values()),
    }
    assert_equal_trees(counted, real, f"counted and real cost of {type(method).__name__}")


def global_random_state_is_ignored(task: Task, make_method: MakeMethod) -> None:
    """A run does not depend on the state of torch's global generator before the run."""
    method = make_method()
    first = whole_run(task, method)
    torch.manual_seed(derive_seed("another state"))
    message = f"{type(method).__name__} depends on torch's global generator before the run"
    assert_equal_runs(first, trace_run(task, method), message)


def interruption_changes_nothing(
    task: Task, make_method: MakeMethod, every: int = 1, device: Device | None = None
) -> None:
    """A run that is stopped after every step and resumed from its checkpoint ends with the same bits."""
    method = make_method()
    whole = whole_run(task, method) if device is None else trace_run(task, method, device=device)
    resumed, interruptions = trace_interrupted_run(task, make_method, every, device)
    steps = sum(result.cost.steps for result in whole.results)
    assert interruptions >= steps // every, f"interrupted only {interruptions} times in {steps} steps"
    assert_equal_runs(whole, resumed, f"whole and resumed runs of {type(method).__name__}")


def captured_steps_equal_eager_steps(task: Task, make_method: MakeMethod) -> None:
    """Steps that are captured once and replayed give the bits of steps that run eagerly.

    For methods that declare it or have no hook inside a step. What Python decides in a step is frozen by the
    capture, so the task needs epochs of several steps, and a learning rate that varies.
    """
    method, device = make_method(), CapturingCpu()
    replayed, eager = trace_run(task, method, device=device), trace_run(task, method, device=FusedCpu())
    capturer, name = device.capturer, type(method).__name__
    assert not capturer.failures, f"{name} cannot be captured: {capturer.failures[0]}"
    if method.can_be_captured():
        assert capturer.num_replayed, f"no step of {name} was replayed: the task's epochs have too few"
    else:
        assert not capturer.num_replayed, f"{name} is captured without being capturable"
    assert_equal_runs(eager, replayed, f"{name} differs when replayed")


def state_survives_checkpointing(task: Task, make_method: MakeMethod) -> None:
    """What a method keeps between hooks is the same after it was written to a checkpoint and read back."""
    restored = replace(make_method())
    name = type(restored).__name__

    def save_and_load(method: Method, learner: Learner) -> None:
        saved = state.state_dict(learner, method)
        fresh = Learner(task, restored, learner.seed, learner.device)
        fresh.begin_stage(learner.stage)
        state.load_state_dict(read_back(pack("a-run", saved)), fresh, restored)
        loaded = state.state_dict(fresh, restored)
        assert_equal_trees(saved, loaded, f"the states of {name} before and after a checkpoint")

    trace_run(task, hooked_after_stage(make_method(), after=save_and_load))

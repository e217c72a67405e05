"""The laws of methods. Each takes a method class and raises AssertionError if the class breaks the law."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from plastibench.devices import Device
from plastibench.plugins.fields import search_space, settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.probe import Probe
from plastibench.plugins.task import Task
from plastibench.plugins.values import from_json
from plastibench.seeding import derive_seed
from plastibench.store.checkpoint import Checkpoint
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import (
    count_passes,
    data_context,
    equal_weights,
    hooked_after_stage,
    trace_interrupted_run,
    trace_run,
)
from plastibench.training import protocol, state
from plastibench.training.callbacks import StateDict
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner

COSTS_OF_HOOKS = {"remedy_passes", "remedy_forwards", "remedy_flops", "elementwise_flops"}


def is_well_formed(cls: type[Method]) -> None:
    """A method is a dataclass whose docstring names its source; its settings survive JSON."""
    assert "__dataclass_fields__" in vars(cls), f"{cls.__name__} lacks @dataclass"
    assert "arXiv" in (cls.__doc__ or ""), f"{cls.__name__}'s docstring names no source (arXiv ...)"
    settings = settings_of(cls())
    assert cls(**from_json(json.loads(json.dumps(settings)))) == cls()
    for name, values in cls.presets.items():
        assert settings_of(cls(**values)).items() >= dict(values).items(), f"preset {name} is not kept"
    for name, space in search_space(cls).items():
        assert space.low <= settings[name] <= space.high, f"the default of {name} is outside its search range"


def disabled_method_equals_warm_start(task: Task, cls: type[Method]) -> None:
    """A method whose strength is off equals the method without hooks, bit for bit."""
    assert cls.disabled is not None
    warm, disabled = trace_run(task, Method()), trace_run(task, cls(**cls.disabled))
    assert equal_weights(warm.weights, disabled.weights)
    assert _without_hooks(warm.rows()) == _without_hooks(disabled.rows())


def _without_hooks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in COSTS_OF_HOOKS} for row in rows]


def default_settings_differ_from_warm_start(task: Task, cls: type[Method]) -> None:
    """A method with its published settings changes the weights: the law above is not met by doing nothing."""
    assert not equal_weights(trace_run(task, Method()).weights, trace_run(task, cls()).weights)


def same_seed_gives_same_result(task: Task, cls: type[Method]) -> None:
    """The seed determines the result, and another seed gives another result."""
    first, second, other = (trace_run(task, cls(), seed) for seed in (3, 3, 4))
    assert equal_weights(first.weights, second.weights)
    assert first.rows() == second.rows()
    assert not equal_weights(first.weights, other.weights)


def first_stage_equals_warm_start(task: Task, cls: type[Method]) -> None:
    """A method that acts only between stages has the same first stage as every other such method."""
    assert cls.acts_only_between_stages()
    warm, remedy = trace_run(task, Method()), trace_run(task, cls())
    assert equal_weights(warm.weights[:1], remedy.weights[:1])
    assert warm.rows()[0] == remedy.rows()[0]


def evaluation_changes_nothing(task: Task, cls: type[Method]) -> None:
    """One more evaluation changes neither the weights nor the modes nor the random streams of a learner."""
    method = cls()

    def evaluate_again(learner: Learner) -> None:
        weights = copy.deepcopy(learner.model.state_dict())
        streams = torch.get_rng_state(), learner.generator.get_state()
        modes = [module.training for module in learner.model.modules()]
        assert learner.stage.test is not None
        evaluate(method.evaluated(learner), learner.stage.test, task.recipe, learner.device)
        assert equal_weights([weights], [learner.model.state_dict()])
        assert modes == [module.training for module in learner.model.modules()]
        assert torch.equal(streams[0], torch.get_rng_state())
        assert torch.equal(streams[1], learner.generator.get_state())

    with hooked_after_stage(method, before=evaluate_again):
        evaluated = trace_run(task, method)
    assert equal_weights(evaluated.weights, trace_run(task, cls()).weights)


def probes_change_nothing(task: Task, cls: type[Method], probes: Mapping[str, Probe]) -> None:
    """A run with probes has the same bits as one without, and their measurements in addition."""
    plain = trace_run(task, cls())
    probed = trace_run(task, cls(), measures=protocol.Measures(probes=probes))
    names = {f"{name}.{measurement}" for name, probe in probes.items() for measurement in probe.units}
    assert equal_weights(plain.weights, probed.weights), f"a probe changes a run of {cls.__name__}"
    assert [row | dict.fromkeys(names) for row in plain.rows()] == [
        row | dict.fromkeys(names & row.keys()) for row in probed.rows()
    ]


def counted_cost_equals_real_cost(task: Task, cls: type[Method], num_classes: int) -> None:
    """The counted cost equals independent counts of examples that went through models, and of FLOPs."""
    with count_passes(num_classes) as passes:
        results = trace_run(task, cls()).results
    costs = [result.cost for result in results]
    assert passes.forward_backward == sum(cost.train_passes + cost.remedy_passes for cost in costs)
    assert passes.forward_only == sum(cost.evaluation_forwards + cost.remedy_forwards for cost in costs)
    # A second run, with nothing left to trace, under a counter that sees every operation.
    with FlopCounterMode(display=False) as counter:
        costs = [result.cost for result in trace_run(task, cls()).results]
    counted = sum(phase.flops or 0 for cost in costs for phase in cost.phases.values())
    assert counter.get_total_flops() == counted


def global_random_state_is_ignored(task: Task, cls: type[Method]) -> None:
    """A run does not depend on the state of torch's global generator before the run."""
    torch.manual_seed(derive_seed("a"))
    first = trace_run(task, cls())
    torch.manual_seed(derive_seed("b"))
    torch.rand(7)
    assert equal_weights(first.weights, trace_run(task, cls()).weights)


def interruption_changes_nothing(
    task: Task, cls: type[Method], every: int = 1, device: Device | None = None
) -> None:
    """A run that is stopped after every step and resumed from a file each time ends with the same bits."""
    whole = trace_run(task, cls(), device=device)
    resumed, interruptions = trace_interrupted_run(task, cls, every, device)
    assert interruptions >= sum(result.cost.steps for result in whole.results) // every
    assert resumed.rows() == whole.rows()
    assert equal_weights(resumed.weights, whole.weights)


def captured_steps_equal_eager_steps(task: Task, cls: type[Method]) -> None:
    """Steps that are captured once and replayed give the bits of steps that run eagerly.

    For methods that declare it or have no hook inside a step. What Python decides in a step is frozen by the
    capture, so the task needs epochs of several steps, and a learning rate that varies.
    """
    device = CapturingCpu()
    replayed, eager = trace_run(task, cls(), device=device), trace_run(task, cls(), device=FusedCpu())
    capturer = device.capturer
    assert not capturer.failures, f"{cls.__name__} cannot be captured: {capturer.failures[0]}"
    assert bool(capturer.num_replayed) == cls.can_be_captured()
    assert equal_weights(replayed.weights, eager.weights), f"{cls.__name__} differs when replayed"
    assert replayed.rows() == eager.rows()


def state_survives_checkpointing(task: Task, cls: type[Method]) -> None:
    """What a method keeps between hooks is the same after it was written to a checkpoint and read back."""
    method, restored = cls(), cls()
    states: list[StateDict] = []

    def save_and_load(learner: Learner) -> None:
        states[:] = [state.state_dict(learner, method)]
        fresh = Learner(task, restored, learner.seed, learner.device)
        fresh.begin_stage(learner.stage)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder), "a-law")
            checkpoint.write(states[0])
            state.load_state_dict(checkpoint.read(print) or {}, fresh, restored)
        states.append(state.state_dict(fresh, restored))

    with hooked_after_stage(method, after=save_and_load):
        for _ in protocol.run(task, method, 0, data_context()):
            assert _equal_trees(*states), f"the state of {cls.__name__} changes in a checkpoint"


def _equal_trees(a: object, b: object) -> bool:
    """Return whether two trees of tensors and plain values are equal, number for number."""
    (leaves_a, structure_a), (leaves_b, structure_b) = tree_flatten(a), tree_flatten(b)
    return structure_a == structure_b and all(map(_equal_leaves, leaves_a, leaves_b))


def _equal_leaves(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b) and a.stride() == b.stride()
    return a == b

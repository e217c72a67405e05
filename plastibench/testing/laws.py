"""The laws of methods. Each takes a task and a class, and raises AssertionError where the law is broken."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from plastibench.devices import Device
from plastibench.plugins.fields import search_space, settings_of
from plastibench.plugins.method import Method
from plastibench.plugins.probe import Probe
from plastibench.plugins.task import Task
from plastibench.seeding import derive_seed
from plastibench.store.checkpoint import Checkpoint
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import (
    count_passes,
    data_context,
    equal_weights,
    trace_interrupted_run,
    trace_run,
)
from plastibench.training import protocol, state
from plastibench.training.callbacks import StateDict
from plastibench.training.evaluation import evaluate
from plastibench.training.learner import Learner

Kind = type[Method]
ALLOWED = {"torch", "plastibench", *sys.stdlib_module_names}


def is_well_formed(kind: Kind) -> None:
    """A method is a dataclass with a docstring that names its source; its settings travel as JSON."""
    assert "__dataclass_fields__" in vars(kind), f"{kind.__name__} lacks @dataclass"
    assert "arXiv" in (kind.__doc__ or ""), f"{kind.__name__}'s docstring names no source (arXiv ...)"
    settings = settings_of(kind())
    assert kind().with_values(json.loads(json.dumps(settings))) == kind()
    for name, values in kind.presets.items():
        assert settings_of(kind(**values)).items() >= dict(values).items(), f"preset {name} does not hold"
    for name, space in search_space(kind).items():
        assert space.low <= settings[name] <= space.high, f"the default of {name} lies outside its own range"


def imports_only_allowed_modules(kind: Kind) -> None:
    """A plug-in knows torch, the standard library and plastibench.api, and nothing else."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in ALLOWED, f"{kind.__name__} imports {name}"
            assert not name.startswith("plastibench") or name == "plastibench.api", (
                f"{kind.__name__} imports {name}"
            )


def disabled_method_equals_warm_start(task: Task, kind: Kind) -> None:
    """With its strength off a remedy equals the method without hooks, bit for bit."""
    assert kind.disabled is not None
    warm, off = trace_run(task, Method()), trace_run(task, kind(**kind.disabled))
    assert equal_weights(warm.weights, off.weights)
    drop = {"remedy_passes", "remedy_forwards", "remedy_flops", "elementwise_flops"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in warm.rows()] == [
        {k: v for k, v in row.items() if k not in drop} for row in off.rows()
    ]


def default_settings_differ_from_warm_start(task: Task, kind: Kind) -> None:
    """With its published settings a remedy does something: the law above is not kept by doing nothing."""
    assert not equal_weights(trace_run(task, Method()).weights, trace_run(task, kind()).weights)


def same_seed_gives_same_result(task: Task, kind: Kind) -> None:
    """The seed decides everything, and another seed decides otherwise."""
    one, again, other = (trace_run(task, kind(), seed) for seed in (3, 3, 4))
    assert equal_weights(one.weights, again.weights)
    assert one.rows() == again.rows()
    assert not equal_weights(one.weights, other.weights)


def first_stage_equals_warm_start(task: Task, kind: Kind) -> None:
    """What acts only between stages shares the first one with every other such method."""
    assert kind.acts_only_between_stages()
    warm, remedy = trace_run(task, Method()), trace_run(task, kind())
    assert equal_weights(warm.weights[:1], remedy.weights[:1])
    assert warm.rows()[0] == remedy.rows()[0]


def evaluation_changes_nothing(task: Task, kind: Kind) -> None:
    """However often a learner is measured, it stays as it is: weights, modes, and the streams of chance."""
    method = kind()
    plain = trace_run(task, kind())
    ordinary = method.after_stage

    def measure_more(learner: Learner) -> None:
        before = copy.deepcopy(learner.model.state_dict())
        streams = torch.get_rng_state(), learner.generator.get_state()
        modes = [module.training for module in learner.model.modules()]
        assert learner.stage.test is not None
        evaluate(method.evaluated(learner), learner.stage.test, task.recipe, learner.device)
        assert equal_weights([before], [learner.model.state_dict()])
        assert modes == [module.training for module in learner.model.modules()]
        assert torch.equal(streams[0], torch.get_rng_state())
        assert torch.equal(streams[1], learner.generator.get_state())
        ordinary(learner)

    vars(method)["after_stage"] = measure_more
    assert equal_weights(trace_run(task, method).weights, plain.weights)


def probes_change_nothing(task: Task, kind: Kind, probes: Mapping[str, Probe]) -> None:
    """A run with probes has the same bits, and the measurements in addition."""
    plain = trace_run(task, kind())
    probed = trace_run(task, kind(), measures=protocol.Measures(probes=probes))
    names = {f"{name}.{measurement}" for name, probe in probes.items() for measurement in probe.units}
    assert equal_weights(plain.weights, probed.weights), f"a probe changes a run of {kind.__name__}"
    assert [row | dict.fromkeys(names) for row in plain.rows()] == [
        row | dict.fromkeys(names & row.keys()) for row in probed.rows()
    ]


def counted_cost_equals_real_cost(task: Task, kind: Kind, num_classes: int) -> None:
    """The ledger agrees with independent counts: of examples that went through models, and of FLOPs."""
    with count_passes(num_classes) as real:
        results = trace_run(task, kind()).results
    costs = [result.cost for result in results]
    assert real.forward_backward == sum(cost.train_passes + cost.remedy_passes for cost in costs)
    assert real.forward_only == sum(cost.evaluation_forwards + cost.remedy_forwards for cost in costs)
    # Once more, now that nothing is left to trace, under a counter that sees every operation.
    with FlopCounterMode(display=False) as counter:
        costs = [result.cost for result in trace_run(task, kind()).results]
    assert counter.get_total_flops() == sum(cost.matrix_flops or 0 for cost in costs)


def global_random_state_is_ignored(task: Task, kind: Kind) -> None:
    """A run neither reads nor leaves a trace in torch's global stream before its own seeding."""
    torch.manual_seed(derive_seed("a"))
    one = trace_run(task, kind())
    torch.manual_seed(derive_seed("b"))
    torch.rand(7)
    assert equal_weights(one.weights, trace_run(task, kind()).weights)


def interruption_changes_nothing(
    task: Task, kind: Kind, every: int = 1, device: Device | None = None
) -> None:
    """A run that is stopped after every step, each time gone on with from a file, ends with the same bits."""
    whole, (pieces, stops) = (
        trace_run(task, kind(), device=device),
        trace_interrupted_run(task, kind, every, device),
    )
    assert stops >= sum(result.cost.steps for result in whole.results) // every
    assert pieces.rows() == whole.rows()
    assert equal_weights(pieces.weights, whole.weights)


def captured_steps_equal_eager_steps(task: Task, kind: Kind) -> None:
    """Where steps are recorded once and replayed, every bit is that of steps which Python takes one by one.

    For a method that declares it, or has no hook inside a step. What Python decides at a step is frozen in a
    recording, so the task needs epochs of several steps, and rates that vary.
    """
    taping = CapturingCpu()
    replayed, taken = trace_run(task, kind(), device=taping), trace_run(task, kind(), device=FusedCpu())
    assert not taping.capturer.failures, f"{kind.__name__} cannot be recorded: {taping.capturer.failures[0]}"
    assert bool(taping.capturer.num_replayed) == kind.can_be_captured()
    assert equal_weights(replayed.weights, taken.weights), f"{kind.__name__} differs when replayed"
    assert replayed.rows() == taken.rows()


def state_survives_checkpointing(task: Task, kind: Kind) -> None:
    """What the method keeps between hooks can be written to a file, and is the same when read from it."""
    method, other = kind(), kind()
    taken: list[StateDict] = []
    ordinary = method.after_stage

    def take(learner: Learner) -> None:
        ordinary(learner)
        taken[:] = [state.state_dict(learner, method)]
        fresh = Learner(task, other, learner.seed, learner.device)
        fresh.begin_stage(learner.stage)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder), "a-law")
            checkpoint.write(taken[0])
            state.load_state_dict(checkpoint.read(print) or {}, fresh, other)
        taken.append(state.state_dict(fresh, other))

    vars(method)["after_stage"] = take
    for _ in protocol.run(task, method, 0, data_context()):
        assert _same_tree(*taken), f"what {kind.__name__} keeps is another after a checkpoint"


def _same_tree(one: object, two: object) -> bool:
    """Return whether two trees of tensors and plain values are equal, number for number."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two) and one.stride() == two.stride()
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same_tree(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_same_tree, one, two))
    return one == two

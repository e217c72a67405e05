"""The laws of probes. Each raises AssertionError, and says what differs, if a probe breaks the law."""

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from plastibench.plugins.method import Method
from plastibench.plugins.probe import Probe
from plastibench.plugins.task import Stage, Task
from plastibench.testing.run_trace import hooked_after_stage, trace_interrupted_run, trace_run
from plastibench.testing.trace_diff import assert_equal_runs, assert_equal_trees
from plastibench.training import protocol, state
from plastibench.training.learner import Learner
from plastibench.training.probing import StageProbes


def measuring_changes_nothing(task: Task, probes: Mapping[str, Probe]) -> None:
    """Weights, buffers, optimizer, random streams and data are the same before and after a measurement."""
    moments = dict.fromkeys(moment for probe in probes.values() for moment in probe.moments)

    def measure(method: Method, learner: Learner) -> None:
        before = _everything(learner, method)
        measured = StageProbes(probes)
        measured.begin_stage(learner.stage.test)
        for moment in moments:
            measured.measure(moment, learner)
        names = " and ".join(probes)
        assert_equal_trees(before, _everything(learner, method), f"before and after a measurement of {names}")

    trace_run(task, hooked_after_stage(Method(), before=measure))


def measurements_are_repeatable(task: Task, probes: Mapping[str, Probe]) -> None:
    """The seed determines what is measured: two runs with the same seed give the same numbers."""
    measures = protocol.Measures(probes=probes)
    first, second = (trace_run(task, Method(), measures=measures) for _ in range(2))
    assert_equal_runs(first, second, f"two runs with the same seed and {' and '.join(probes)}")


def measurements_survive_interruption(task: Task, probes: Mapping[str, Probe]) -> None:
    """A run that is stopped after every step and resumed has the same measurements."""
    measures = protocol.Measures(probes=probes)
    resumed, _ = trace_interrupted_run(task, Method, every=1, measures=measures)
    whole = trace_run(task, Method(), measures=measures)
    assert_equal_runs(whole, resumed, f"whole and resumed runs with {' and '.join(probes)}")


def _everything(learner: Learner, method: Method) -> dict[str, Any]:
    """Return the whole state of a run, and its data."""
    return {**state.state_dict(learner, method), "data": _data(learner.stage)}


def _data(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        data = getattr(stage, part)
        if data is not None:
            digest = hashlib.sha256()
            data.update_digest(digest)
            tensors = {name: value.clone() for name, value in vars(data).items() if isinstance(value, Tensor)}
            found[part] = {**tensors, "content": digest.hexdigest()}
    return found

"""Laws of all methods on models that are not plain."""

from __future__ import annotations

import pytest
from support.zoo import PLAIN, zoo_task

from plastibench.plugins.registry import Registry
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_run

QUICK = {("dash", model) for model in ("tied", "attention", "recurrent", "buffers")}
CASES = [
    pytest.param(name, model, marks=[] if (name, model) in QUICK else [pytest.mark.heavy])
    for name in Registry().names("method")
    for model in PLAIN
]


@pytest.mark.parametrize(("name", "model"), CASES)
def test_the_laws_hold_on_every_model(registry: Registry, name: str, model: str) -> None:
    task, cls = zoo_task(registry, model), registry.load("method", name)
    laws.interruption_changes_nothing(task, cls)
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)
    replayed, eager = (trace_run(task, cls(), device=device) for device in (CapturingCpu(), FusedCpu()))
    assert equal_weights(replayed.weights, eager.weights)
    if cls.disabled:
        laws.disabled_method_equals_warm_start(task, cls)

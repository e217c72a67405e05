"""Laws of all methods on models that are not plain."""

from __future__ import annotations

import re

import pytest
from support.pairs import pairs
from support.tasks import changes_captured_steps
from support.zoo import PLAIN, zoo_task

from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.testing import laws
from plastibench.testing.cpu_graphs import CapturingCpu, FusedCpu
from plastibench.testing.run_trace import equal_weights, trace_run

QUICK = {("dash", model) for model in ("tied", "attention", "recurrent", "buffers")}
CASES = pairs(list(PLAIN), 2, quick=QUICK, whole=("dash",))


@pytest.mark.parametrize(("name", "model"), CASES)
def test_the_laws_hold_on_every_model(registry: Registry, name: str, model: str) -> None:
    task, cls = zoo_task(registry, model), registry.load("method", name)
    reason = cls().unsupported(task)
    if reason is not None:
        with pytest.raises(RequestError, match=re.escape(reason)):
            trace_run(task, cls())
        return
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)
    laws.interruption_changes_nothing(task, cls, every=2)
    if cls.disabled:
        laws.disabled_method_equals_warm_start(task, cls)
    if changes_captured_steps(cls):
        replayed, eager = (trace_run(task, cls(), device=device) for device in (CapturingCpu(), FusedCpu()))
        assert equal_weights(replayed.weights, eager.weights)

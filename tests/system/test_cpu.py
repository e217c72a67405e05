"""Freed memory is kept: no page is requested twice, and no number depends on it."""

from __future__ import annotations

import json
import platform
from typing import Any

import pytest
from support.commands import child

PROGRAM = """
import json, resource, sys
import torch
from plastibench.profiling import throughput
from plastibench.devices import Cpu, Device
from plastibench.models.small_resnet import SmallResNet
from plastibench.plugins.task import Recipe

class Unpatched(Cpu):
    prepare_model = Device.prepare_model  # leaves the C library alone

torch.set_num_threads(1)
device = {"kept": Cpu, "returned": Unpatched}[sys.argv[1]]()
engine = throughput.make_train_step(throughput.random_images(SmallResNet(width=4), Recipe(), 256), device)
for _ in range(3):
    throughput.train_epoch(engine)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    throughput.train_epoch(engine)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
weights = [w.double().sum().item() for w in engine.learner.model.parameters()]
print(json.dumps({"faults": faults, "weights": weights}))
"""


def train(memory: str) -> dict[str, Any]:
    return json.loads(child("-c", PROGRAM, memory).stdout)  # type: ignore[no-any-return]


@pytest.mark.heavy
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.slow
def test_training_requests_hardly_any_page_and_gives_the_same_bits() -> None:
    kept, returned = train("kept"), train("returned")
    assert kept["weights"] == returned["weights"]
    assert kept["faults"] < returned["faults"] / 10

"""Memory that is held: no page is asked for twice, and no number depends on it."""

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

class GivesBack(Cpu):
    prepare_model = Device.prepare_model  # what the C library does by itself

torch.set_num_threads(1)
device = {"held": Cpu, "given back": GivesBack}[sys.argv[1]]()
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


def trained(how: str) -> dict[str, Any]:
    return json.loads(child("-c", PROGRAM, how).stdout)  # type: ignore[no-any-return]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_training_asks_for_hardly_a_new_page_and_gives_the_same_bits() -> None:
    held, given_back = trained("held"), trained("given back")
    assert held["weights"] == given_back["weights"]
    assert held["faults"] < given_back["faults"] / 10

"""What a device does beside the CPU: its losses, how often the host waits, operators that it lacks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plastibench.devices import Cpu, Device
from plastibench.models.small_resnet import SmallResNet
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.profiling.throughput import make_train_step, random_images
from plastibench.system.output import logged_output
from plastibench.training.step import TrainStep

STEPS, BATCH, WIDTH = 20, 32, 8
READS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2")
"""Operators whose result the host must know."""
SHOWN = {
    "losses": f"of {STEPS} steps of a small residual network, there and on the CPU",
    "difference": "the largest between the two",
    "waits": "of the host for the device, in these steps",
}
"""What `check_device` returns."""


class HostWaits(TorchDispatchMode):
    """Counts inside it how often the host waits for a value on the device, by operator."""

    def __init__(self, device: Device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self._type = device.device_type

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run an operator, and count it if it reads from the device."""
        found = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if self._type != "cpu" and any(self._is_there(value) for value in tree_leaves((args, kwargs))):
            on_host = isinstance(found, Tensor) and found.device.type == "cpu"
            if name in READS or on_host:
                self.counts[name] += 1
        return found

    def _is_there(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.device.type == self._type


def check_device(device: Device) -> dict[str, str]:
    """Take the same steps on the device and on the CPU; return losses, their difference, waits and fallbacks.

    Weights and images are drawn on the CPU, so the first losses differ by rounding alone.
    """
    with logged_output(bool(device.fallback_variables)) as log:
        there = step_losses(device)
    here, waits = step_losses(Cpu()), host_waits(device)
    named = ", ".join(f"{name} {times}" for name, times in waits.items())
    found = {
        "losses": f"{_numbers(there)} (CPU: {_numbers(here)})",
        "difference": f"{max(abs(a - b) for a, b in zip(there, here, strict=True)):.2g} at most",
        "waits": f"{sum(waits.values()) / STEPS:g} a step, not compiled{f' ({named})' if named else ''}",
    }
    if device.fallback_variables:
        found["fallbacks"] = _fallbacks(device, log())
    return found


def step_losses(device: Device) -> list[float]:
    """Return the loss of each step of an epoch."""
    step, losses = _step(device), []
    for batch in _batches(step):
        step.metrics.reset()
        step(*batch)
        losses.append(step.metrics.compute().loss)
    return losses


def host_waits(device: Device) -> Counter[str]:
    """Return how often the host waits in an epoch whose metrics are not read, by operator."""
    step = _step(device)
    batches = list(_batches(step))
    waits = HostWaits(device)
    with waits:
        for batch in batches:
            step(*batch)
    return waits.counts


def _step(device: Device) -> TrainStep:
    task = random_images(SmallResNet(width=WIDTH), Recipe(batch_size=BATCH), BATCH * STEPS)
    step = make_train_step(task, device)
    return TrainStep(step.learner, Method())  # not captured: each step is executed and observed


def _batches(step: TrainStep) -> Iterator[tuple[Tensor, Tensor]]:
    return iter(step.learner.stage.train.batches(BATCH))


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def _fallbacks(device: Device, log: str) -> str:
    """Return which operators ran on the CPU instead, or how to have them logged."""
    missing = [
        f"{name}={value}" for name, value in device.fallback_variables.items() if name not in os.environ
    ]
    if missing:
        return f"not logged: run this again with {' '.join(missing)} before the command"
    found = Counter(device.fallback_operators(log))
    return ", ".join(f"{name} {times}" for name, times in found.most_common()) or "none"

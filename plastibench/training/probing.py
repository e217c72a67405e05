"""Probes of a stage: measured on copies of the learner, so that the run stays as it is."""

from collections.abc import Mapping
from time import perf_counter

import torch

from plastibench.errors import RequestError
from plastibench.plugins.probe import Probe
from plastibench.seeding import derive_seed
from plastibench.training.learner import Learner


def measure_probes(probes: Mapping[str, Probe], learner: Learner) -> dict[str, float]:
    """Return the measurements as `probe.measurement`, and the seconds that they took as `probe_seconds`.

    Raises RequestError if a probe does not return what it declares.
    """
    if not probes:
        return {}
    learner.device.synchronize()
    start = perf_counter()
    values = {
        f"{name}.{measurement}": value
        for name, probe in probes.items()
        for measurement, value in _measure(name, probe, learner).items()
    }
    learner.device.synchronize()
    return {**values, "probe_seconds": perf_counter() - start}


def _measure(name: str, probe: Probe, learner: Learner) -> dict[str, float]:
    device, stream = learner.device, ("probe", name, learner.stage.index)
    rng_state = device.rng_state()
    device.manual_seed(derive_seed(learner.seed, *stream))
    try:
        with torch.enable_grad():
            values = probe.measure(learner.clone(*stream))
    finally:
        device.set_rng_state(rng_state)
    if set(values) != set(probe.units):
        raise RequestError(
            f"probe {name} returns {', '.join(sorted(values))}, but declares {', '.join(sorted(probe.units))}"
        )
    return {measurement: float(values[measurement]) for measurement in probe.units}

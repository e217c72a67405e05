"""Probes of a run: measured on copies of the learner, so that the run stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from plastibench.data.dataset import Dataset
from plastibench.plugins.probe import PER_LAYER, Probe
from plastibench.seeding import derive_seed
from plastibench.training.cost import ProbeCost, measured
from plastibench.training.learner import Learner
from plastibench.training.probe_checks import checked_values, data_unchanged


class StageProbes:
    """Measures the probes of a run at the moments that they ask for, and keeps the values of a stage."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self.begin_stage()

    def begin_stage(self, test: Dataset | None = None) -> None:
        """Forget the values of the stage before; probes measure on `test` at every moment of the new one."""
        self._test = test
        self._values: dict[str, float] = {}
        self._cost = ProbeCost()

    def are_due(self, moment: str) -> bool:
        """Return whether a probe measures at a moment."""
        return any(moment in probe.moments for probe in self._probes.values())

    def measure(self, moment: str, learner: Learner) -> None:
        """Measure the probes that are due at a moment.

        Raises RequestError if one does not return what it declares.
        """
        if not self.are_due(moment):
            return
        with measured(self._cost, learner.device):
            for name, probe in self._probes.items():
                if moment in probe.moments:
                    values = self._measure(name, probe, learner)
                    self._values |= {column(probe, name, key, moment): values[key] for key in values}

    def row(self) -> dict[str, float | int | None]:
        """Return the values of the stage, NaN for moments that it did not have, and their cost."""
        if not self._probes:
            return {}
        return {
            **dict.fromkeys(units_of(self._probes), float("nan")),
            **self._values,
            **self._cost.as_dict(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far in the stage."""
        return {"values": dict(self._values), "cost": self._cost.as_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._values, self._cost = dict(state["values"]), ProbeCost.from_dict(state["cost"])

    def _measure(self, name: str, probe: Probe, learner: Learner) -> dict[str, float]:
        device, stream = learner.device, ("probe", name, learner.stage.index)
        twin, rng_state = learner.clone(*stream), device.rng_state()
        twin.stage = replace(twin.stage, test=self._test)
        device.manual_seed(derive_seed(learner.seed, *stream))
        try:
            with torch.enable_grad(), data_unchanged(name, probe, twin.stage):
                values = probe.measure(twin)
        finally:
            device.set_rng_state(rng_state)
        self._cost.add(twin.cost)
        return checked_values(name, probe, values)


def column(probe: Probe, name: str, measurement: str, moment: str) -> str:
    """Return the column of a measurement in the row of a stage; it names the moment if there are several."""
    return f"{name}.{measurement}" + (f".{moment}" if len(probe.moments) > 1 else "")


def units_of(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Return the columns of probes and their units, without those of single layers."""
    return {
        column(probe, name, measurement, moment): unit
        for name, probe in probes.items()
        for measurement, unit in probe.units.items()
        if not measurement.endswith(PER_LAYER)
        for moment in probe.moments
    }

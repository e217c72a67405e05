"""What a stage costs, counted where the work is done; the method's own work is kept apart.

docs/cost.md explains each number. None means that a number was not measured; it never stands for 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_args

from plastibench.system.energy import joules_between

if TYPE_CHECKING:
    from plastibench.devices import Device
    from plastibench.training.flops import Flops

Phase = Literal["train", "remedy", "evaluation"]
PHASES: tuple[Phase, ...] = get_args(Phase)
FORWARD = 1 / 3
"""Cost in passes of an example's forward pass alone: the backward pass costs twice as much."""


@dataclass(frozen=True)
class CostColumn:
    """What a cost in the row of a stage is."""

    unit: str
    total: Literal["sum", "max"] = "sum"
    """How the stages of a run are combined."""
    phase: Phase | None = None
    """The phase that it is measured in, or None if it is of the whole stage."""


def _count(unit: str) -> Any:  # noqa: ANN401 - stands for its value, as dataclasses.field does
    return field(default=0, metadata={"unit": unit})


@dataclass
class PhaseCost:
    """What one phase of a stage costs."""

    flops: int | None = field(default=0, metadata={"unit": "FLOPs"})
    """Of matrix products, convolutions and attention in its passes; a multiply-add counts as two."""
    seconds: float = field(default=0.0, metadata={"unit": "s"})
    memory: int | None = field(default=None, metadata={"unit": "bytes", "total": "max"})
    """Peak memory on the device."""
    energy: float | None = field(default=None, metadata={"unit": "J"})
    """By the device's own counter."""


class RemedyWork(NamedTuple):
    """What a method itself has computed in passes and matrix products, or in some of them."""

    passes: int
    forwards: int
    flops: int | None
    elementwise_flops: int | None

    def since(self, before: RemedyWork) -> RemedyWork:
        """Return what has been computed since `before`; None if it could not be counted."""
        return RemedyWork(
            self.passes - before.passes,
            self.forwards - before.forwards,
            _difference(self.flops, before.flops),
            _difference(self.elementwise_flops, before.elementwise_flops),
        )


@dataclass
class Cost:
    """What one stage costs. Passes are counted in examples, whatever the batch size."""

    steps: int = _count("steps")
    """Updates of the weights; SAM's two passes are one step."""
    samples: int = _count("examples")
    """Training examples drawn for those updates."""
    train_passes: int = _count("examples")
    """Examples taken forward and backward for updates; SAM takes each one twice."""
    second_passes: int = _count("examples")
    """Those of `train_passes` that are not in the first pass of their step, such as SAM's."""
    remedy_passes: int = _count("examples")
    """Examples taken forward and backward by the method itself."""
    remedy_forwards: int = _count("examples")
    """Examples taken forward only by the method itself."""
    evaluation_forwards: int = _count("examples")
    """Examples taken forward to measure accuracy, and to choose those that arrive next."""
    elementwise_flops: int | None = _count("FLOPs")
    """Everything else in all passes and in the optimizer's updates, one per element written."""
    phases: dict[Phase, PhaseCost] = field(default_factory=lambda: {phase: PhaseCost() for phase in PHASES})

    @property
    def peak_memory(self) -> int | None:
        """Return the peak memory of all phases in bytes, or None if it was not measured."""
        peaks = (part.memory for part in self.phases.values())
        return max((peak for peak in peaks if peak is not None), default=None)

    def as_dict(self) -> dict[str, int | float | None]:
        """Return a flat dictionary with the keys of `COST_COLUMNS`."""
        costs = {name: getattr(self, name) for name in _COUNTS}
        for name in _PHASE_COSTS:
            costs |= {f"{phase}_{name}": getattr(part, name) for phase, part in self.phases.items()}
        return costs | {"peak_memory": self.peak_memory}

    @classmethod
    def from_dict(cls, costs: Mapping[str, Any]) -> Self:
        """Return the cost that `as_dict` made `costs` from."""
        phases = {
            phase: PhaseCost(**{name: costs[f"{phase}_{name}"] for name in _PHASE_COSTS}) for phase in PHASES
        }
        return cls(**{name: costs[name] for name in _COUNTS}, phases=phases)

    def add_flops(self, phase: Phase, flops: Flops | None) -> None:
        """Add FLOPs to a phase; None, if they could not be counted, makes the sum None."""
        matrix, elementwise = (flops.matrix, flops.elementwise) if flops else (None, None)
        self.phases[phase].flops = _add(self.phases[phase].flops, matrix)
        self.elementwise_flops = _add(self.elementwise_flops, elementwise)

    def remedy_work(self) -> RemedyWork:
        """Return what the method itself has computed so far."""
        flops = self.phases["remedy"].flops
        return RemedyWork(self.remedy_passes, self.remedy_forwards, flops, self.elementwise_flops)

    def add_remedy_work(self, work: RemedyWork) -> None:
        """Add work of the method itself: a captured step repeats it."""
        self.remedy_passes += work.passes
        self.remedy_forwards += work.forwards
        self.phases["remedy"].flops = _add(self.phases["remedy"].flops, work.flops)
        self.elementwise_flops = _add(self.elementwise_flops, work.elementwise_flops)

    def measure(self, phase: Phase, device: Device) -> AbstractContextManager[None]:
        """Add the seconds and joules spent in the context to a phase, and update its peak memory."""
        return measured(self.phases[phase], device)


@contextmanager
def measured(part: PhaseCost, device: Device) -> Iterator[None]:
    """Add the seconds and joules spent in the context, and update the peak memory.

    Waits for the device on entry and on exit, so that no phase pays for the work of another.
    """
    device.synchronize()
    device.reset_peak_memory_stats()
    energy, start = device.read_energy(), perf_counter()
    try:
        yield
    finally:
        device.synchronize()
        part.seconds += perf_counter() - start
        joules, peak = joules_between(energy, device.read_energy()), device.max_memory_allocated()
        if joules is not None:
            part.energy = (part.energy or 0.0) + joules
        if peak is not None:
            part.memory = max(peak, part.memory or 0)


@dataclass
class ProbeCost(PhaseCost):
    """What the probes of a stage cost, which is in no phase of the stage itself."""

    passes: int = field(default=0, metadata={"unit": "examples"})
    """Examples taken forward and backward."""
    forwards: int = field(default=0, metadata={"unit": "examples"})
    """Examples taken forward only."""

    def add(self, cost: Cost) -> None:
        """Add what a probe has done with its learner; time and memory are measured here."""
        self.passes += cost.train_passes + cost.remedy_passes
        self.forwards += cost.remedy_forwards + cost.evaluation_forwards
        for part in cost.phases.values():
            self.flops = _add(self.flops, part.flops)
            self.memory = max((peak for peak in (self.memory, part.memory) if peak is not None), default=None)

    def as_dict(self) -> dict[str, int | float | None]:
        """Return a flat dictionary with the keys of `PROBE_COSTS`."""
        return {f"probe_{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, costs: Mapping[str, Any]) -> Self:
        """Return the cost that `as_dict` made `costs` from."""
        return cls(**{name.removeprefix("probe_"): value for name, value in costs.items()})


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _add(total: int | None, amount: int | None) -> int | None:
    return None if total is None or amount is None else total + amount


_COUNTS = {f.name: f.metadata for f in fields(Cost) if f.metadata}
_PHASE_COSTS = {f.name: f.metadata for f in fields(PhaseCost)}

COST_COLUMNS: Mapping[str, CostColumn] = {
    **{name: CostColumn(**about) for name, about in _COUNTS.items()},
    **{
        f"{phase}_{name}": CostColumn(phase=phase, **about)
        for name, about in _PHASE_COSTS.items()
        for phase in PHASES
    },
    "peak_memory": CostColumn("bytes", total="max"),
}
"""Every cost in the row of a stage, by name: the one list of them."""

PROBE_COSTS = tuple(ProbeCost().as_dict())
"""Costs in the row of a stage that was probed; no total of a run includes them."""

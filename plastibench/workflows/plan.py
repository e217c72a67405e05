"""What runs will take before any is executed: time, FLOPs, memory and disk, by method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Literal

from plastibench.analysis.labels import method_labels
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, build, by_condition
from plastibench.profiling.calibration import evaluate_batch
from plastibench.profiling.estimate import (
    CalibrationTime,
    RunTimes,
    measure_runs,
    stage_sizes,
    wall_seconds,
)
from plastibench.profiling.stage_times import predict_flops
from plastibench.runner.context import RunContext
from plastibench.runner.data import prepare_data
from plastibench.runner.worker import init_worker, keep_torch_settings
from plastibench.store.index.load import load_summaries
from plastibench.store.run_store import Store
from plastibench.system.memory import peak_memory
from plastibench.workflows.request import RunOptions, Selection
from plastibench.workflows.resources import open_device, run_context
from plastibench.workflows.shards import write_costs

STAGE_BYTES, RUN_BYTES = 2000, 3000
"""What a stage and a run take on the disk if no finished run tells: two copies of a row, and provenance."""
MAX_FOLDERS = 5
"""Finished runs of a method whose folders are measured."""
Source = Literal["finished runs", "timed stages", "timed steps"]
CALIBRATION_FRACTION, SHORTEST = 0.5, 15.0
"""Share of the runs' time that timing first stages may take, within the limit of the request, and its least
seconds: whoever asks for a plan waits for a good one."""
STATES = 2
"""Checkpoints of a run that are kept while it is executed, and of a state in memory while it is saved."""
COPIES = 3
"""Sets of the size of the weights in a state: the weights, and up to two of the optimizer or the method."""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Runs to plan."""

    selection: Selection
    options: RunOptions = field(default_factory=RunOptions)
    """Of these, jobs and threads matter."""
    save: Path | None = None
    """Where to write what each run still takes, for `--costs`."""
    calibration: float = 60.0
    """Most seconds that timing first stages may take."""


@dataclass(frozen=True)
class MethodPlan:
    """What the runs of one method under one setting take."""

    task: str
    model: str
    method: str
    num_runs: int
    num_done: int
    run_seconds: float
    """Of one run."""
    run_seconds_range: tuple[float, float]
    """The least and the most that this may well be: how many epochs stages need is not known beforehand."""
    run_flops: float | None
    """Of one run; None if they cannot be counted."""
    run_memory: int | None
    """Peak bytes on the device; None if the device does not measure them."""
    run_disk: int
    """Bytes of a finished run."""
    source: Source
    """Where the seconds come from. How many steps stages need is assumed if only steps were timed."""

    @property
    def num_missing(self) -> int:
        """Return the number of runs to do."""
        return self.num_runs - self.num_done


@dataclass(frozen=True)
class Plan:
    """What a suite takes."""

    name: str
    device: str
    num_processes: int
    threads: int
    methods: Sequence[MethodPlan]
    seconds: float
    """Until all missing runs are done, several at a time."""
    seconds_range: tuple[float, float]
    """The least and the most that this may well be."""
    process_memory: int | None
    """Most bytes of a run's process, by the process that timed first stages; None if none did."""
    checkpoint_disk: int
    """Bytes of the checkpoints of the runs in progress at one time."""

    @property
    def run_seconds(self) -> float:
        """Return the seconds of all missing runs, one after the other."""
        return sum(method.num_missing * method.run_seconds for method in self.methods)

    @property
    def flops(self) -> float | None:
        """Return the FLOPs of all missing runs, or None if they could not be counted."""
        each = [(method.num_missing, method.run_flops) for method in self.methods]
        if any(flops is None for _, flops in each):
            return None
        return sum(number * (flops or 0.0) for number, flops in each)

    @property
    def disk(self) -> int:
        """Return the bytes that all missing runs leave."""
        return sum(method.num_missing * method.run_disk for method in self.methods)


def plan(request: PlanRequest) -> Plan:
    """Return what the runs of a selection take, finished ones left out; nothing is executed or written.

    Earlier runs of the same kind on the same hardware tell; of the others first stages are timed. Raises
    RequestError for runs that cannot be planned, data that are missing, or a device that is not there.
    """
    return _Planner(request).plan()


class _Planner:
    def __init__(self, request: PlanRequest) -> None:
        self.request = request
        self.specs = request.selection.specs
        self.store = Store(request.selection.workspace.home)
        finished = load_summaries(self.store, [spec.id for spec in self.specs])
        self.done = {record.id for record in finished}
        self.missing = [spec for spec in self.specs if spec.id not in self.done]

    def plan(self) -> Plan:
        """Measure, and put together."""
        selection, times = self.request.selection, self.times
        seconds = {spec.id: times.seconds[spec.id] for spec in self.missing}
        if self.request.save is not None:
            write_costs(self.request.save, dict.fromkeys(self.done, 0.0) | seconds)
        variants: dict[str, list[Spec]] = {}
        for spec in self.specs:
            variants.setdefault(spec.variant_id, []).append(spec)
        labels = method_labels([specs[0].method for specs in variants.values()])
        return Plan(
            name=selection.resolved_suite.name,
            device=self.context.data_context.device.name(),
            num_processes=self.context.num_processes,
            threads=self.context.threads or 1,
            methods=[self._method(*each) for each in zip(labels, variants.values(), strict=True)],
            seconds=wall_seconds(seconds.values(), self.context.num_processes),
            seconds_range=self._seconds_range(),
            process_memory=None if set(variants) <= set(times.known) else self._process_memory(),
            checkpoint_disk=self._checkpoint_disk(),
        )

    @cached_property
    def context(self) -> RunContext:
        """Return how the runs would be executed."""
        selection = self.request.selection
        device = open_device(selection.device_name, self.specs, self.request.options)
        return run_context(selection.workspace, self.request.options, device, self.missing or self.specs)

    @cached_property
    def times(self) -> RunTimes:
        """Return the seconds of all runs."""
        prepare_data(list(by_condition(self.specs).values()), self.context)
        sizes = {key: stage_sizes(spec, self.context) for key, spec in by_condition(self.specs).items()}
        longest = self.request.calibration
        limits = CalibrationTime(CALIBRATION_FRACTION, min(SHORTEST, longest), longest, thorough=True)
        with keep_torch_settings():
            init_worker(replace(self.context, num_processes=1))
            times = measure_runs(self.specs, self.context, sizes, limits)
        if times is None:
            raise RequestError("none of these runs could be timed: `plastibench run` says why")
        return times

    def _method(self, label: str, specs: Sequence[Spec]) -> MethodPlan:
        """Return what the runs of one variant take."""
        times, spec = self.times, specs[0]
        samples = times.samples[spec.variant_id]
        memory = [sample.memory for sample in samples if sample.memory is not None]
        return MethodPlan(
            task=spec.task.name,
            model=spec.model.name,
            method=label,
            num_runs=len(specs),
            num_done=sum(spec.id in self.done for spec in specs),
            run_seconds=times.seconds[spec.id],
            run_seconds_range=times.ranges[spec.id],
            run_flops=predict_flops(samples, times.sizes[spec.condition_id]),
            run_memory=max(memory, default=None),
            run_disk=self._disk(specs),
            source=self._source(spec),
        )

    def _seconds_range(self) -> tuple[float, float]:
        """Return the least and the most seconds that the missing runs may well take together."""
        ranges = [self.times.ranges[spec.id] for spec in self.missing]
        low, high = (
            wall_seconds([each[end] for each in ranges], self.context.num_processes) for end in (0, 1)
        )
        return low, high

    def _source(self, spec: Spec) -> Source:
        if spec.variant_id in self.times.known:
            return "finished runs"
        complete = any(sample.is_complete for sample in self.times.samples[spec.variant_id])
        return "timed stages" if complete else "timed steps"

    def _disk(self, specs: Sequence[Spec]) -> int:
        done = [spec.id for spec in specs if spec.id in self.done][:MAX_FOLDERS]
        if done:
            return round(fmean(_folder_size(self.store.folder(run)) for run in done))
        return RUN_BYTES + STAGE_BYTES * len(self.times.sizes[specs[0].condition_id])

    def _process_memory(self) -> int | None:
        """Return this process's peak, and what a run's process needs beyond it to evaluate and to save."""
        for spec in by_condition(self.missing).values():
            evaluate_batch(spec, self.context)
        peak = peak_memory()
        return None if peak is None else peak + STATES * self._largest_state

    def _checkpoint_disk(self) -> int:
        """Return the bytes of the largest checkpoints that may be there at one time."""
        return min(self.context.num_processes, len(self.missing)) * STATES * self._largest_state

    @cached_property
    def _largest_state(self) -> int:
        weights = [_weight_bytes(spec, self.context) for spec in by_condition(self.missing).values()]
        return COPIES * max(weights, default=0)


def _weight_bytes(spec: Spec, context: RunContext) -> int:
    task, method = build(spec, context.registry)
    return sum(weight.numel() * weight.element_size() for weight in method.build(task).parameters())


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())

"""How long runs will take: from finished runs in the home folder, else from a short calibration."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from time import perf_counter

from plastibench.experiments.spec import Spec, build, by_condition, canonical
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.stages import stages_of
from plastibench.profiling.calibration import step_limit, time_first_stages
from plastibench.profiling.stage_times import StageSize, StageTime, predict_range, predict_seconds
from plastibench.runner.context import RunContext
from plastibench.store.index.load import load_summaries
from plastibench.store.record import Record, hardware_name
from plastibench.training.flops import flop_model

logger = logging.getLogger(__name__)

MIN_SHARE, FIRST_SHARE = 0.5, 2.0
"""Seconds of calibration for one kind of run at least, and for the first one at most.

When time is up, the rest is not calibrated. The first one tells how much time there is.
"""
SHORT_SECONDS = 10.0
"""Runs that take less in all are not estimated."""
MAX_RECORDS = 5
"""Finished runs that are read for one kind of run."""
STEP_SECONDS, FLOPS_PER_SECOND = 0.02, 1e9
"""A slow machine, for the runs that are short on any."""


@dataclass(frozen=True)
class CalibrationTime:
    """How long first stages may be timed."""

    fraction: float = 0.03
    """Share of the estimated time."""
    shortest: float = 5.0
    longest: float = 15.0
    thorough: bool = False
    """Whether every kind of run is timed, even if all are short, and to its end if there is time."""


@dataclass(frozen=True)
class RunTimes:
    """The estimated seconds of runs, by id."""

    seconds: Mapping[str, float]
    num_processes: int
    sizes: Mapping[str, Sequence[StageSize]]
    """The stages of each condition."""
    samples: Mapping[str, Sequence[StageTime]]
    """The stages that each variant's runs are judged by."""
    ranges: Mapping[str, tuple[float, float]]
    """The least and the most seconds that each run may well take, by id."""
    known: Collection[str] = ()
    """The variants of which there are finished runs."""

    def total(self) -> float:
        """Return the seconds that all runs take together, several at a time."""
        return wall_seconds(self.seconds.values(), self.num_processes)

    def with_stages(self, specs: Sequence[Spec], context: RunContext, stages: int) -> float | None:
        """Return the total if the data came in fewer stages; None if they cannot."""
        sizes: dict[str, list[StageSize]] = {}
        for key, spec in by_condition(specs).items():
            shorter = _shorter(spec, context, self.sizes[key], stages)
            if shorter is None:
                return None
            sizes[key] = shorter
        return wall_seconds(
            [predict_seconds(self.samples[s.variant_id], sizes[s.condition_id]) for s in specs],
            self.num_processes,
        )


def wall_seconds(seconds: Iterable[float], num_processes: int) -> float:
    """Return how long runs take together, several at a time."""
    listed = list(seconds)
    return max([sum(listed) / num_processes, *listed], default=0.0)


def estimate_runs(specs: Sequence[Spec], context: RunContext) -> RunTimes | None:
    """Return the estimated seconds of runs; None if they are short, or nothing could be found out.

    Runs of the same task, model, method and recipe on the same hardware tell best. What none of them tells
    about is calibrated for a few seconds in this process.
    """
    stages = {key: stage_sizes(spec, context) for key, spec in by_condition(specs).items()}
    if _are_short(specs, context, stages):
        return None
    times = measure_runs(specs, context, stages, CalibrationTime())
    return times if times is not None and times.total() >= SHORT_SECONDS else None


def measure_runs(
    specs: Sequence[Spec],
    context: RunContext,
    stages: Mapping[str, Sequence[StageSize]],
    limits: CalibrationTime,
) -> RunTimes | None:
    """Return the estimated seconds of runs, however short; None if nothing could be found out.

    `stages` has the sizes of each condition's stages.
    """
    known = samples_of_records(specs, context)
    samples = known | _calibrated(specs, context, stages, known, limits)
    if not samples:
        return None
    # A kind of run that failed, or that no time was left for, is taken to be like the others.
    others = [time for times in samples.values() for time in times]
    samples = {spec.variant_id: samples.get(spec.variant_id, others) for spec in specs}
    seconds = {s.id: predict_seconds(samples[s.variant_id], stages[s.condition_id]) for s in specs}
    ranges = {s.id: predict_range(samples[s.variant_id], stages[s.condition_id]) for s in specs}
    return RunTimes(seconds, context.num_processes, stages, samples, ranges, known.keys())


def stage_sizes(spec: Spec, context: RunContext) -> list[StageSize]:
    """Return the sizes of a run's stages; the data are read, nothing is computed."""
    task, _ = build(spec, context.registry)
    return [
        StageSize(
            len(stage.train),
            stage.num_new,
            0 if spec.held_out_test or stage.test is None else len(stage.test),
        )
        for stage in stages_of(task, spec.seed, context.data_context)
    ]


def _shorter(
    spec: Spec, context: RunContext, sizes: Sequence[StageSize], stages: int
) -> list[StageSize] | None:
    """Return the sizes of fewer stages of the same data, or None if the task has no such choice."""
    task, _ = build(spec, context.registry)
    if not isinstance(task, ClassificationTask) or task.max_stages or len(sizes) <= stages:
        return None
    if not task.regime.takes_equal_chunks(stages):
        return None
    chunks = task.regime.chunk_sizes(sum(size.num_new for size in sizes), stages)
    windows = zip(task.regime.windows(chunks), chunks, strict=True)
    return [StageSize(window.end - window.start, chunk, sizes[0].num_test) for window, chunk in windows]


def _are_short(specs: Sequence[Spec], context: RunContext, stages: Mapping[str, Sequence[StageSize]]) -> bool:
    """Return whether the limits of the recipe make the runs short, even on a slow machine."""
    seconds = 0.0
    for key, spec in by_condition(specs).items():
        task, _ = build(spec, context.registry)
        limits = [step_limit(task.recipe, size.num_train) for size in stages[key]]
        steps = sum(limit for limit in limits if limit is not None)
        num_runs = sum(other.condition_id == key for other in specs)
        if None in limits or num_runs * steps * STEP_SECONDS > SHORT_SECONDS:
            return False
        shape = task.input_shape() if isinstance(task, ClassificationTask) else None
        flops = None if shape is None else flop_model(task.model(), shape, backward=True)
        each = 0 if flops is None else flops.flops(task.recipe.batch_size).matrix
        seconds += num_runs * steps * (STEP_SECONDS + each / FLOPS_PER_SECOND)
    return seconds < SHORT_SECONDS


def samples_of_records(specs: Sequence[Spec], context: RunContext) -> dict[str, list[StageTime]]:
    """Return the stages of finished runs of the same kind on the same hardware, by variant."""
    device = context.data_context.device.name()
    hardware = hardware_name({"device": device, "threads": context.threads})
    found: dict[str, list[Record]] = {}
    tasks = {spec.task.name for spec in specs}
    for record in load_summaries(context.store):
        if record.spec.task.name in tasks and record.hardware == hardware:
            found.setdefault(_kind(record.spec), []).append(record)
    samples = {}
    for spec in {spec.variant_id: spec for spec in specs}.values():
        records = found.get(_kind(spec), [])
        same = [record for record in records if record.spec.task == spec.task] or records
        times = [time for record in same[-MAX_RECORDS:] for time in _times(record, context)]
        if times:
            samples[spec.variant_id] = times
    return samples


def _times(summary: Record, context: RunContext) -> list[StageTime]:
    """Return what the stages of a finished run took, read from its own file."""
    record = context.store.read(summary.id) or summary
    memory = record.provenance.get("process_memory")
    return [StageTime.from_row(row, memory) for row in record.stages]


def _kind(spec: Spec) -> str:
    """Return what runs have in common whose stages of equal size take equally long."""
    parts = [spec.task.name, *([part.name, part.settings] for part in (spec.model, spec.method))]
    return canonical([*parts, spec.recipe, spec.device, spec.held_out_test])


def _calibrated(
    specs: Sequence[Spec],
    context: RunContext,
    stages: Mapping[str, Sequence[StageSize]],
    known: Mapping[str, Sequence[StageTime]],
    limits: CalibrationTime,
) -> dict[str, list[StageTime]]:
    """Return the timed first stages of every kind of run that is not known, by variant."""
    missing = list({spec.variant_id: spec for spec in specs if spec.variant_id not in known}.values())
    samples: dict[str, list[StageTime]] = {}
    start, allowed, predicted = perf_counter(), limits.shortest, list[float]()
    while missing:
        left = start + allowed - perf_counter()
        if left < 0:
            break
        spec, sizes = missing[0], stages[missing[0].condition_id]
        share = max(MIN_SHARE, left / len(missing))
        share = share if predicted else min(share, FIRST_SHARE)
        times = time_first_stages(spec, context, sizes, share, to_the_end=limits.thorough)
        if times:
            predicted.append(predict_seconds(times, sizes))
            total = len(specs) * fmean(predicted) / context.num_processes
            if not known and not limits.thorough and total < SHORT_SECONDS / 2:
                return {spec.variant_id: times}
            allowed = min(limits.longest, max(limits.shortest, limits.fraction * total))
            if not samples:
                logger.info("timing first stages for up to %.0f s", allowed)
            samples[spec.variant_id] = times
        # The first one is timed again if it turns out that there is more time.
        if len(predicted) != 1 or allowed / len(missing) < 2 * share:
            missing.pop(0)
    return samples

"""Estimates of time: from the stages of finished runs, else from a calibration; said before runs begin."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.commands import PLAIN, plugin
from support.stores import a_spec

import plastibench
from plastibench.console import describe_seconds
from plastibench.display.runs import RunProgress
from plastibench.experiments.spec import Spec
from plastibench.profiling.calibration import time_first_stages
from plastibench.profiling.estimate import estimate_runs, wall_seconds
from plastibench.profiling.stage_times import (
    StageSize,
    StageTime,
    predict_range,
    predict_seconds,
    work,
)
from plastibench.runner.context import RunContext
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record
from plastibench.training.cost import COST_COLUMNS
from plastibench.workflows.estimate import announce_run_time
from plastibench.workflows.request import Selection

LONG = {"stages": "3", "width": "4", "train_size": "130"}
"""Settings of runs that have 200 epochs a stage, and need far fewer."""


def a_context(home: Path, num_processes: int = 1) -> RunContext:
    return RunContext(Workspace(home=home), "cpu", threads=1, num_processes=num_processes)


def some_specs(home: Path, methods: str = "warm", seeds: int = 20, **settings: str) -> list[Spec]:
    selection = Selection(
        workspace=Workspace(home=home),
        tasks=("digits",),
        methods=tuple(methods.split(",")),
        seeds=tuple(range(seeds)),
        settings={**LONG, **settings},
    )
    return selection.specs


def test_run_with_the_same_stages_takes_what_they_took() -> None:
    times = [StageTime(index, 100 * (index + 1), 2.0 + index, 0.5) for index in range(4)]
    sizes = [StageSize(100 * (index + 1), 100, 600) for index in range(4)]
    assert predict_seconds(times, sizes) == pytest.approx(2 + 3 + 4 + 5 + 4 * 0.5)


def test_more_data_take_longer_but_less_than_in_proportion() -> None:
    times = [StageTime(0, 100, 1.0, 0.0), StageTime(1, 200, 0.5, 0.0)]
    whole = predict_seconds(times, [StageSize(100, 100, 0), StageSize(400, 300, 0)])
    assert whole == pytest.approx(1.0 + 0.5 * work(400) / work(200))
    assert 1.5 < whole < 2.0


def a_range(*times: StageTime, stages: int) -> tuple[float, float]:
    """Return the range of a run of equal stages, relative to its predicted seconds."""
    sizes = [StageSize(100, 100, 0)] * stages
    low, high = predict_range(times, sizes)
    center = predict_seconds(times, sizes)
    return round(low / center, 3), round(high / center, 3)


def test_the_range_is_the_wider_the_less_is_known() -> None:
    run = [StageTime(index, 100, 1.0, 0.0) for index in range(4)]
    assert a_range(*run, *run, *run, stages=4) == (0.85, 1.15), "three runs that took the same"
    slow = [replace(time, seconds=2.0) for time in run]
    assert a_range(*run, *slow, stages=4) == (0.333, 1.667), "two runs that did not"
    assert a_range(*run, stages=4) == (0.75, 1.25)
    assert a_range(*run[:3], stages=10) == (0.835, 1.185), (
        "stages of one run, the first of which is one alone"
    )
    assert a_range(*run[:2], stages=10) == (0.7, 1.5)
    assert a_range(run[0], stages=10) == (0.43, 2.4)
    assert a_range(replace(run[0], is_complete=False), stages=10) == (0.4, 2.5)


def test_evaluation_is_known_well() -> None:
    low, high = predict_range([StageTime(0, 100, 0.0, 3.0)], [StageSize(100, 100, 600)] * 2)
    assert (low, high) == (6.0, 6.0)


def test_a_grid_takes_as_long_as_its_longest_run_at_least() -> None:
    assert wall_seconds([10.0, 10.0, 10.0, 10.0], 2) == 20
    assert wall_seconds([100.0, 1.0], 2) == 100
    assert wall_seconds([], 2) == 0


@pytest.mark.heavy
def test_calibration_ends_in_time_and_writes_nothing(tmp_path: Path) -> None:
    (spec,) = some_specs(tmp_path, seeds=1)
    sizes = [StageSize(44 + 43 * index, 43, 600) for index in range(3)]
    whole = time_first_stages(spec, a_context(tmp_path), sizes, seconds=60)
    cut = time_first_stages(spec, a_context(tmp_path), sizes, seconds=0)
    (longer,) = some_specs(tmp_path, seeds=1, stages="5", max_epochs="1")
    equal = [StageSize(26 * (index + 1), 26, 600) for index in range(5)]
    for to_the_end, number in ((False, 3), (True, 5)):
        times = time_first_stages(longer, a_context(tmp_path), equal, seconds=60, to_the_end=to_the_end)
        assert [time.index for time in times] == list(range(number))
    assert [time.index for time in whole] == [0, 1, 2]
    assert [time.index for time in cut] == [0]
    assert all(time.seconds > 0 and time.evaluation > 0 for time in [*whole, *cut])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_run_that_fails_is_not_calibrated(tmp_path: Path) -> None:
    broken = plugin(tmp_path, "mine", "def before_stage(self, learner):\n    raise ValueError('no')", PLAIN)
    selection = Selection(
        workspace=Workspace(home=tmp_path, plugins=(broken,)), tasks=("digits",), methods=("mine",)
    )
    context = RunContext(selection.workspace, "cpu", threads=1)
    times = time_first_stages(selection.specs[0], context, [StageSize(24, 24, 600)] * 3, seconds=5)
    assert len(times) == 1, "the stages before the failure are timed"


def test_runs_that_cannot_take_long_are_not_estimated(tmp_path: Path) -> None:
    specs = some_specs(tmp_path, max_epochs="1", train_size="130")
    assert estimate_runs(specs[:3], a_context(tmp_path)) is None


def finish(context: RunContext, spec: Spec, seconds: float, threads: int = 1) -> None:
    """Store a run each of whose stages took so many seconds."""
    row = {**dict.fromkeys(COST_COLUMNS, 0), "test_accuracy": 0.5, "train_seconds": seconds}
    provenance = {"device": context.data_context.device.name(), "threads": threads, "seconds": 3 * seconds}
    with context.store.open(spec) as writer:
        for index in range(3):
            num_train = 44 + 43 * index
            writer.append({**row, "index": index, "num_train": num_train, "stop": "target_accuracy"})
        writer.finish("done", provenance)


def test_finished_runs_on_the_same_hardware_tell_how_long_others_take(tmp_path: Path) -> None:
    context = a_context(tmp_path, num_processes=2)
    done, other_threads, *specs = some_specs(tmp_path, seeds=6)
    finish(context, done, seconds=100.0)
    finish(context, other_threads, seconds=9000.0, threads=7)
    times = estimate_runs(specs, context)
    assert times is not None
    assert times.seconds == {spec.id: pytest.approx(300, rel=0.01) for spec in specs}
    assert times.total() == pytest.approx(4 * 300 / 2, rel=0.01)
    shorter = times.with_stages(specs, context, 2)
    assert shorter is not None
    assert 0.5 < shorter / times.total() < 0.9
    assert times.with_stages(specs, context, 10) is None, "there are three stages"


@pytest.mark.heavy
def test_run_says_how_long_it_takes_before_it_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = some_specs(tmp_path, seeds=2)
    finish(a_context(tmp_path), first, seconds=200.0)
    with caplog.at_level(logging.INFO, logger="plastibench"):
        result = plastibench.run(
            task="digits", methods="warm", seeds=2, settings=LONG, home=tmp_path, threads=1
        )
    assert len(result.summaries) == 2
    assert caplog.messages[1] == "estimated time: about 10 min"
    assert caplog.messages[2].startswith("2/2 digits ")


def test_grid_of_many_stages_is_compared_with_ten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = a_context(tmp_path)
    done, *specs = some_specs(tmp_path, seeds=30, stages="50")
    finish(context, done, seconds=20.0)
    with caplog.at_level(logging.INFO, logger="plastibench"):
        announce_run_time(specs, context)
    (line,) = caplog.messages
    assert re.fullmatch(
        r"estimated time: about \d+ h \d+ min \(with --set stages=10 about \d+ (h \d+ )?min\)", line
    )


def test_progress_counts_down_from_the_estimate() -> None:
    progress = RunProgress(Console(file=io.StringIO(), width=200))
    progress.on_start(num_runs=3, num_finished=0, num_processes=1)
    progress.on_estimate({a_spec(seed).id: seconds for seed, seconds in ((0, 10.0), (1, 20.0), (2, 30.0))})
    assert progress.time_left() == "about 1:00 left"
    progress.on_run_start(a_spec(0), 4)
    progress.on_stage_end(a_spec(0), {"index": 0, "train_seconds": 5.0})
    assert progress.time_left() == "about 0:55 left"
    progress.on_run_end(Record(a_spec(0), "done", [{"index": 0}], {"seconds": 20.0}))
    assert progress.time_left() == "about 1:40 left", "the first run took twice as long as was estimated"
    progress.on_run_error(a_spec(2), "no idea")
    assert progress.time_left() == "about 0:40 left"


def test_durations_have_their_two_largest_units() -> None:
    durations = [describe_seconds(seconds) for seconds in (45, 720, 9600, 277_200)]
    assert durations == ["45 s", "12 min", "2 h 40 min", "3 days 5 h"]

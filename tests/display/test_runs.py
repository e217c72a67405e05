"""Progress of runs: a live display on a terminal, lines elsewhere, never an error."""

from __future__ import annotations

import io
import logging
import os
import pty
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from support.commands import small_run
from support.stores import a_spec

from plastibench.display.runs import RunProgress, RunState
from plastibench.display.screen import Screen, format_duration
from plastibench.store.record import Record
from plastibench.system import signals
from plastibench.training.callbacks import EpochProgress


def a_record(seed: int, seconds: float) -> Record:
    return Record(a_spec(seed), "done", [{"index": 0, "test_accuracy": 0.5}], {"seconds": seconds})


def shown(progress: RunProgress) -> str:
    progress.console.print(progress)
    file = progress.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture
def progress() -> RunProgress:
    progress = RunProgress(Console(file=io.StringIO(), width=200))
    progress.on_start(num_runs=5, num_finished=1, num_processes=2)
    return progress


def test_run_is_shown_from_its_first_epoch_to_its_end(progress: RunProgress) -> None:
    progress.on_run_start(a_spec(), 3)
    progress.on_epoch_end(a_spec(), EpochProgress(stage=1, epoch=4, train_accuracy=0.25, steps=9))
    assert "x x x seed 0" in shown(progress)
    assert "stage 2/3  epoch 4" in shown(progress).replace("3 epoch", "3  epoch")
    progress.on_run_end(a_record(0, 7.0))
    assert "2/5 runs" in shown(progress)
    assert progress.running == {}


def test_time_left_is_that_of_the_remaining_runs_over_the_processes(progress: RunProgress) -> None:
    assert progress.time_left() == "time left not known yet"
    progress.on_run_start(a_spec(), 4)
    progress.on_stage_end(a_spec(), {"index": 0, "train_seconds": 10.0})
    # Four runs of 40 s, 10 s of which are spent, in two processes.
    assert progress.time_left() == "at least 1:15 left"
    progress.on_run_end(a_record(0, 20.0))
    assert progress.time_left() == "about 0:30 left"
    progress.on_run_end(a_record(1, 20.0))
    progress.on_run_error(a_spec(2), "no idea")
    assert progress.time_left() == "about 0:20 left", "one run cannot be divided between two processes"
    progress.on_run_end(a_record(3, 20.0))
    assert progress.time_left() == ""


def test_a_resumed_run_has_taken_the_seconds_of_its_stages(progress: RunProgress) -> None:
    progress.on_run_start(a_spec(), 4)
    progress.on_stage_end(a_spec(), {"index": 0, "train_seconds": 8.0, "evaluation_seconds": 1.0})
    progress.on_stage_end(a_spec(), {"index": 1, "train_seconds": 8.0, "evaluation_seconds": 3.0})
    # Four runs of 40 s, 20 s of which are spent, in two processes.
    assert progress.time_left() == "at least 1:10 left"


def test_stages_are_printed_if_there_is_no_terminal(
    progress: RunProgress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="plastibench")
    progress.last_line = -60.0
    progress.on_run_start(a_spec(), 3)
    progress.on_stage_end(a_spec(), {"index": 0, "train_seconds": 8.0})
    progress.on_stage_end(a_spec(), {"index": 1, "train_seconds": 8.0})
    (line,) = caplog.messages
    assert line.startswith("x x x seed 0: stage 1/3, at least"), "one line every ten seconds"


def test_resumed_run_is_not_said_to_be_at_its_first_stage(
    progress: RunProgress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="plastibench")
    progress.last_line = -60.0
    progress.on_run_start(a_spec(), 9)
    for stage in range(4):
        progress.on_stage_restored(a_spec(), {"index": stage, "train_seconds": 8.0})
    assert "stage 5/9" in shown(progress)
    progress.on_stage_end(a_spec(), {"index": 4, "train_seconds": 8.0})
    assert [line.partition(",")[0] for line in caplog.messages] == ["x x x seed 0: stage 5/9"]


def test_events_of_a_run_that_is_not_shown_are_no_error(progress: RunProgress) -> None:
    for seed in (1, 2):
        progress.on_epoch_end(a_spec(seed), EpochProgress(0, 1, 0.5, 9))
        progress.on_stage_end(a_spec(seed), {"index": 0, "test_accuracy": 0.1})
    progress.on_run_error(a_spec(3), "no idea")
    assert "2/5 runs" in shown(progress)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("terminal", [False, True])
def test_terminal_that_is_gone_harms_no_run(terminal: bool) -> None:
    progress = RunProgress(Screen(file=Gone(), force_terminal=terminal))
    progress.on_start(3, 0, 1)
    progress.last_line = -60.0
    progress.on_run_start(a_spec(), 3)
    progress.on_stage_end(a_spec(), {"index": 0, "test_accuracy": 0.5})
    progress.on_run_end(a_record(0, 1.0))
    progress.on_run_error(a_spec(1), "no idea")
    assert progress.num_ended == 2


@pytest.mark.heavy
def test_display_is_drawn_while_runs_come_and_go(progress: RunProgress) -> None:
    progress.durations.append(1.0)
    wrong: list[BaseException] = []
    stop = threading.Event()

    def draw() -> None:
        try:
            while not stop.is_set():
                progress.time_left()
        except RuntimeError as error:
            wrong.append(error)

    state = RunState("x", num_stages=3, start_time=0.0)
    progress.running.update((str(number), state) for number in range(500))
    drawer = threading.Thread(target=draw)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the two threads take turns within one drawing
    try:
        drawer.start()
        for number in range(2000):
            progress.running[f"more {number}"] = state
            time.sleep(0)
            del progress.running[f"more {number}"]
            time.sleep(0)
    finally:
        stop.set()
        drawer.join()
        sys.setswitchinterval(before)
    assert wrong == []


def test_durations_are_formatted_like_a_clock() -> None:
    assert [format_duration(s) for s in (0, 59.6, 61, 3599, 3661)] == [
        "0:00",
        "1:00",
        "1:01",
        "59:59",
        "1:01:01",
    ]


@pytest.mark.heavy
def test_terminal_shows_bars_and_is_left_in_order(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with suppress(OSError):  # the last one to hold the terminal has closed it
            while piece := os.read(ours, 4096):
                seen.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal:
        answer = small_run(tmp_path, "--method", "warm", "--set", "max_epochs=300", err=terminal)
    reader.join()
    os.close(ours)
    assert answer.status == 0
    assert b"0/1 run" in seen
    assert b"stage 1/2" in seen
    assert b"1/1 digits small_resnet warm seed 0" in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0, "the cursor is not shown again"


def test_a_display_shows_that_runs_stop_and_no_line_is_written_into_it(
    progress: RunProgress, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="plastibench")
    with signals.stop_on_signals():
        signals.request_stop()
        signals.show_stop_in_display(True)
        signals.announce_stop()
        assert capfd.readouterr().err == ""
        signals.show_stop_in_display(False)
        signals.announce_stop()
        assert signals.STOP_NOTICE in capfd.readouterr().err
        progress.console.print(progress.frame())
    file = progress.console.file
    assert isinstance(file, io.StringIO)
    assert signals.STOP_NOTICE in file.getvalue()

"""Progress: lines for a file, bars for a terminal, and no harm whatever happens."""

from __future__ import annotations

import io
import os
import pty
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.commands import small_run
from support.stores import a_spec

from plastibench.cli.progress import Display
from plastibench.cli.screen import Screen, clock
from plastibench.store.record import Record
from plastibench.training.callbacks import EpochProgress


def a_record(seed: int, seconds: float) -> Record:
    return Record(a_spec(seed), "done", [{"index": 0, "test_accuracy": 0.5}], {"seconds": seconds})


def told(display: Display) -> str:
    display.console.print(display)
    file = display.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture
def display() -> Display:
    return Display(Console(file=io.StringIO(), width=200), total=5, finished=1, jobs=2)


def test_run_is_shown_from_its_first_epoch_to_its_end(display: Display) -> None:
    display.on_run_start(a_spec(), 3)
    display.on_epoch_end(a_spec(), EpochProgress(1, 4, 0.25, 30))
    assert "x x x seed 0" in told(display)
    assert "stage 2/3 epoch 4" in told(display)
    display.on_run_end(a_record(0, 7.0))
    assert "2/5 x x x seed 0: 50.00 % at the last stage, 7.0 s" in told(display)
    assert display.running == {}


def test_time_left_is_that_of_the_runs_left_over_the_processes(display: Display) -> None:
    assert "not known" in told(display)
    display.on_run_start(a_spec(), 4)
    display.running[a_spec().id] |= {"began": time.monotonic() - 10, "stage": 1}
    # Four runs of 40 s, 10 s of which have gone, by two processes.
    assert "at least 1:15 left" in told(display)
    display.on_run_end(a_record(0, 20.0))
    assert "about 0:30 left" in told(display)
    display.on_run_end(a_record(1, 20.0))
    display.on_run_error(a_spec(2), "no idea")
    assert display._left() == "about 0:20 left", "one run cannot be divided between two processes"
    display.on_run_end(a_record(3, 20.0))
    assert display._left() == "about 0:00 left"


def test_a_run_that_goes_on_has_taken_the_seconds_of_its_stages(display: Display) -> None:
    display.on_run_start(a_spec(), 4)
    display.on_stage_end(a_spec(), {"index": 0, "train_seconds": 8.0, "evaluation_seconds": 1.0})
    display.on_stage_end(a_spec(), {"index": 1, "train_seconds": 8.0, "evaluation_seconds": 3.0})
    # Four runs of 40 s, 20 s of which have gone, by two processes.
    assert "at least 1:10 left" in told(display)


def test_news_of_a_run_that_is_not_shown_is_no_error(display: Display) -> None:
    for seed in (1, 2):
        display.on_epoch_end(a_spec(seed), EpochProgress(0, 1, 0.5, 10))
        display.on_stage_end(a_spec(seed), {"index": 0, "test_accuracy": 0.1})
    display.on_run_error(a_spec(3), "no idea")
    assert "failed: no idea" in told(display)


def test_message_with_brackets_is_shown_as_it_is(display: Display) -> None:
    display.on_run_error(a_spec(), "[/bold] wrong :smile: [red]")
    assert "failed: [/bold] wrong :smile: [red]" in told(display)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("terminal", [False, True])
def test_terminal_that_is_gone_harms_no_run(terminal: bool) -> None:
    display = Display(Screen(file=Gone(), force_terminal=terminal), 3, 0, 1)
    display.on_run_start(a_spec(), 3)
    display.on_stage_end(a_spec(), {"index": 0, "test_accuracy": 0.5})
    display.on_run_end(a_record(0, 1.0))
    display.on_run_error(a_spec(1), "no idea")
    assert (display.done, display.failures) == (1, 1)


def test_bars_are_drawn_while_runs_come_and_go(display: Display) -> None:
    display.seconds.append(1.0)
    wrong: list[BaseException] = []
    stop = threading.Event()

    def draw() -> None:
        try:
            while not stop.is_set():
                display._left()
        except RuntimeError as error:
            wrong.append(error)

    state: dict[str, Any] = {"name": "x", "stages": 3, "began": 0.0}
    display.running.update((str(number), state) for number in range(500))
    drawer = threading.Thread(target=draw)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the two threads take turns within one drawing
    try:
        drawer.start()
        for number in range(2000):
            display.running[f"more {number}"] = state
            time.sleep(0)
            del display.running[f"more {number}"]
            time.sleep(0)
    finally:
        stop.set()
        drawer.join()
        sys.setswitchinterval(before)
    assert wrong == []


def test_clock_is_read_as_a_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 61, 3599, 3661)] == ["0:00", "1:00", "1:01", "59:59", "1:01:01"]


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
    assert b"0/1 runs" in seen
    assert b"stage 1/2" in seen
    assert b"1/1 digits small_resnet warm seed 0" in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0, "the cursor is not shown again"

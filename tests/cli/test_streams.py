"""What goes to stdout and to stderr, and how it looks in a file, on a simple terminal, and with colors."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import signal
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from rich.console import Console
from support.commands import command, plugin, small_run
from support.reports import a_home, some_runs

from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.cli.logs import log_to_console
from plastibench.cli.text_tables import print_tables
from plastibench.console import TIMED
from plastibench.display.runs import RunProgress

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
TABLE = TextTable("title", ["method", "gain"], [[Cell("warm"), Cell("+1.00", significant=True)]], ["bold: p"])
BOLD, COLOR = "\x1b[1m", re.compile(r"\x1b\[(3|4|9|10)[0-7]m")


def printed(out: io.StringIO) -> str:
    with redirect_stdout(out):
        print_tables([TABLE])
    return out.getvalue()


@pytest.mark.parametrize(
    "words",
    [(), ("list",), ("table",), ("table", "--wide"), ("status",), ("doctor",)],
    ids=str,
)
def test_without_a_terminal_there_are_no_control_characters(words: tuple[str, ...], tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(2))
    answer = command(*words, *(("--home", home) if words and words[0] != "list" else ()))
    assert answer.status == 0, answer.err
    assert CONTROL.findall(answer.out + answer.err) == []


def test_force_color_styles_a_file_and_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert f"{BOLD}+1.00" in printed(io.StringIO())
    with RunProgress(Console(file=(file := io.StringIO()))) as progress:
        progress.on_start(1, 0, 1)
    assert file.getvalue() == "", "a display was drawn into a file"


def test_no_color_and_a_dumb_terminal_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOR.search(printed(Terminal()))
    monkeypatch.setenv("TERM", "dumb")
    assert CONTROL.findall(printed(Terminal())) == []
    assert "*+1.00" in printed(Terminal())
    with RunProgress(Console(file=(file := Terminal()))) as progress:
        progress.on_start(1, 0, 1)
    assert file.getvalue() == ""


def test_lines_about_moments_have_the_time_in_a_log_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("plastibench.test")
    with redirect_stderr(io.StringIO()) as err, log_to_console():
        logger.info("a run has ended", extra=TIMED)
        logger.info("a summary")
    assert re.fullmatch(r"\d\d:\d\d:\d\d a run has ended\na summary\n", err.getvalue())
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, redirect_stderr(terminal), log_to_console():
        logger.info("a run has ended", extra=TIMED)
        terminal.flush()
        seen = os.read(ours, 1000)
    with suppress(OSError):
        os.close(ours)
    assert seen == b"a run has ended\r\n"


@pytest.mark.heavy
def test_a_quiet_run_prints_its_table_alone_and_still_names_what_fails(tmp_path: Path) -> None:
    loud = small_run(tmp_path / "home", "--method", "warm")
    quiet = small_run(tmp_path / "home", "--method", "warm", "-q")
    assert (quiet.out, quiet.err) == (loud.out, "")
    broken = plugin(tmp_path, "mine", "def start(self, learner):\n    raise ValueError('no idea')")
    answer = small_run(tmp_path / "home", "--plugin", broken, "--method", "mine", "--quiet")
    assert "no idea" in answer.err
    assert "to do" not in answer.err
    assert "Traceback" not in answer.err
    verbose = small_run(tmp_path / "home", "--plugin", broken, "--method", "mine", "--verbose")
    assert "Traceback (most recent call last)" in verbose.err


def test_watching_without_a_terminal_prints_each_state_once_until_ctrl_c(tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(1, ["warm"]))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1.3)  # a second look is due after a second
    try:
        answer = command("status", "--watch", "--home", home)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert answer.status == 0, answer.err
    assert re.fullmatch(r"\d\d:\d\d:\d\d  \w{16}  .* warm seed 0  done  3 stages\n", answer.out)

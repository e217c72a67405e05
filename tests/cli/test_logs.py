"""Log records on the command line: plain unwrapped lines, also above a live display."""

from __future__ import annotations

import io
import logging
import os
import pty
from contextlib import redirect_stderr, suppress

from rich.console import Console
from rich.logging import RichHandler

from plastibench.cli.logs import log_to_console
from plastibench.display.screen import LiveDisplay

logger = logging.getLogger("plastibench.test")
LONG = "run [bold] :smile: " + "word " * 60


def test_each_record_is_one_line_as_it_was_written() -> None:
    with redirect_stderr(io.StringIO()) as err, log_to_console():
        logger.info("%s", LONG)
        logger.warning("damaged: %s", "a/b [x]")
        logger.debug("for developers")
        logger.info("MLflow at http://me:secret@host")
    assert err.getvalue() == f"{LONG}\ndamaged: a/b [x]\nMLflow at http://***@host\n"


def test_richs_own_handler_would_wrap_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, LONG, (), None))
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) > 1


def test_without_a_command_nothing_is_shown() -> None:
    with redirect_stderr(io.StringIO()) as err:
        with log_to_console():
            pass
        logger.error("not shown")
    assert err.getvalue() == ""


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_terminal_that_is_gone_raises_nothing() -> None:
    with redirect_stderr(Gone()), log_to_console():
        logger.info("not shown")
        logger.info("not shown either")


def test_lines_appear_above_a_live_display() -> None:
    class Display(LiveDisplay):
        def __rich__(self) -> str:
            return "drawing"

    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w") as terminal,
        redirect_stderr(terminal),
        log_to_console() as handler,
        Display(handler.console),
    ):
        logger.info("a line")
    written = b""
    with suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    seen = written.decode()
    assert "drawing" in seen
    assert "a line\r\n" in seen
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l") >= 0, "the cursor is not shown again"

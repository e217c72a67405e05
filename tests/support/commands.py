"""The command line, in this process or in a process of its own."""

from __future__ import annotations

import io
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from plastibench.cli.main import main
from plastibench.system.signals import STOP_SIGNALS
from support.workers import one_core

SMALL = tuple(
    word for pair in ("stages=2", "max_epochs=1", "width=4", "train_size=130") for word in ("--set", pair)
)
"""Settings of a run of a second."""

PLAIN = '''"""A method of a test."""
from dataclasses import dataclass
from plastibench.api import Learner, Method


@dataclass(kw_only=True)
class Mine(Method):
    """Do nothing (arXiv 0000.00000)."""

    disabled = {}
'''
"""A plug-in that is declared to be a warm start, until a test adds hooks."""


@dataclass(frozen=True)
class CommandResult:
    """The output and the exit code of a command."""

    status: int
    out: str
    err: str

    def lines(self) -> list[str]:
        """Return the lines on stderr."""
        return self.err.splitlines()


def command(*words: object, err: TextIO | None = None) -> CommandResult:
    """Run the command line in this process, as on a machine with one core."""
    out, err = io.StringIO(), err or io.StringIO()
    status = 0
    with redirect_stdout(out), redirect_stderr(err), _alone(["plastibench", *map(str, words)]):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return CommandResult(status, out.getvalue(), err.getvalue() if isinstance(err, io.StringIO) else "")


def small_run(home: Path, *words: object, err: TextIO | None = None) -> CommandResult:
    """Execute a grid of small runs without MLflow; one seed unless `words` name others."""
    seeds = () if "--seeds" in words else ("--seeds", 1)
    return command("run", "--no-mlflow", "--home", home, *SMALL, *seeds, *words, err=err)


def script(path: Path, *words: object) -> CommandResult:
    """Run a script in this process, which has imported torch already."""
    out, err, argv, status = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = [str(path), *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = argv
    return CommandResult(status, out.getvalue(), err.getvalue())


def program(*words: object) -> list[str]:
    """Return the command line as a program of its own."""
    return [sys.executable, "-m", "plastibench", *map(str, words)]


def child(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=timeout, check=False
    )


def plugin(folder: Path, name: str, body: str = "", source: str = PLAIN) -> Path:
    """Write a plug-in file, with lines added to its class."""
    path = folder / f"{name}.py"
    path.write_text(source + "".join(f"    {line}\n" for line in body.splitlines()), encoding="utf-8")
    return path


@contextmanager
def _alone(words: list[str]) -> Iterator[None]:
    """Set argv and one core; put back what the program changes in its process."""
    argv, cores = sys.argv, os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    signs = {sign: signal.getsignal(sign) for sign in STOP_SIGNALS}
    sys.argv = words
    if cores is not None:
        os.sched_setaffinity(0, one_core())
    try:
        yield
    finally:
        sys.argv = argv
        if cores is not None:
            os.sched_setaffinity(0, cores)
        for sign, handler in signs.items():
            with suppress(TypeError):
                signal.signal(sign, handler)
        torch.set_num_threads(1)

"""Executes the code blocks of a document, one after another, in the current folder."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from plastibench.errors import DataError
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.runner.workspace import Workspace
from plastibench.store.run_store import DEFAULT_HOME
from plastibench.workflows.request import OVERRIDES, Selection
from support.block_checks import check, parsed, without_variables
from support.blocks import Block
from support.commands import command
from support.finished_runs import finish_all

READS_RUNS = ("run", "table", "report", "status", "submit")
"""Commands whose runs are finished beforehand, with made-up numbers."""
OTHER_HOMES = ("other-home", "another-home")
MIRRORS = ("run", "resume", "tune")
"""Commands that write to MLflow unless they are told not to."""
SHIPPED = Workspace()
"""Knows the shipped plug-ins, for all pages."""


class PageRunner:
    """Runs the blocks of one page; those of Python share their names."""

    def __init__(self) -> None:
        self.module = ModuleType("page")

    def run(self, block: Block) -> None:
        """Check a block and do what its rule says. Raises AssertionError, or what its Python raises."""
        try:
            self._run(block)
        except Exception as error:
            error.add_note(block.where)
            raise

    def _run(self, block: Block) -> None:
        check(block)
        if block.rule == "file":
            self._write(block)
        elif block.rule == "run" and block.language == "python":
            self._execute(block.text, block.where)
        elif block.language == "sh":
            for line in block.commands():
                words = without_variables(shlex.split(line))
                if block.rule == "run":
                    self._run_line(words, block.where)
                elif words[0] == "plastibench":
                    _check_settings(words)

    def _write(self, block: Block) -> None:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        if "plastibench.api" in block.text:
            for plugin in Registry((path,)).own:
                plugin.load()

    def _execute(self, text: str, where: str) -> None:
        sys.modules[self.module.__name__] = self.module  # where dataclasses look for names
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, where, "exec"), vars(self.module))
        finally:
            del sys.modules[self.module.__name__]

    def _run_line(self, words: list[str], where: str) -> None:
        if words[:2] == ["python", "-c"]:
            self._execute(words[2], where)
        if words[0] != "plastibench":
            return
        name, context = parsed(words[1:])
        if name in READS_RUNS:
            _finish_runs(context)
        done = command(*words[1:], *(["--no-mlflow"] if name in MIRRORS else []))
        assert done.status == 0, f"{where}: {' '.join(words)} ends with {done.status}: {done.err[-600:]}"


def prepare(folder: Path) -> None:
    """Finish the runs of the quick start, and others of its task, in home folders that pages name."""
    quick_start = Selection()
    tasks = quick_start.resolved_suite.grids[0].tasks
    finish_all(folder / DEFAULT_HOME, [*quick_start.specs, *Selection(tasks=tasks).specs])
    for home in OTHER_HOMES:
        finish_all(folder / home, quick_start.specs)


def _check_settings(words: list[str]) -> None:
    """Check the settings of the runs that a command names, unless it needs files or data of the reader's."""
    name, context = parsed(words[1:])
    files = context.params.get("plugins") or ()
    if name in READS_RUNS and not context.params.get("tuned") and all(map(Path.exists, files)):
        with contextlib.suppress(DataError):
            _specs(context)


def _finish_runs(context: click.Context) -> None:
    """Finish the runs that a command names, as if somebody had executed them."""
    finish_all(Path(context.params["home"]), _specs(context))


def _specs(context: click.Context) -> list[Spec]:
    """Return the runs that a command names."""
    named: dict[str, Any] = {name: context.params.get(name) for name in ("suite", "tasks", *OVERRIDES)}
    files = tuple(context.params.get("plugins") or ())
    workspace = Workspace(plugins=files) if files else SHIPPED
    settings = dict(context.params.get("settings") or ())
    return Selection(workspace=workspace, settings=settings, **named).specs

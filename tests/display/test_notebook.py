"""Progress in a notebook: one output with a bar, drawn anew, whose last state stays."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from rich.console import Console
from support.stores import a_spec

from plastibench.display.laws import LawProgress
from plastibench.display.notebook import NotebookView
from plastibench.display.runs import RunProgress
from plastibench.testing.law_suite import LawResult


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a frontend shows, given a stand-in for IPython, which takes a second to import."""
    shown: list[str] = []

    class Handle:
        def update(self, view: Any) -> None:
            shown.append(view._repr_html_())

    class Display:
        @staticmethod
        def display(view: Any, display_id: bool) -> Handle:
            shown.append(view._repr_html_())
            return Handle()

    monkeypatch.setitem(sys.modules, "IPython", type(sys)("IPython"))
    monkeypatch.setattr(sys.modules["IPython"], "display", Display, raising=False)
    return shown


def test_the_bar_follows_the_stages_and_stays_full(outputs: list[str]) -> None:
    progress = RunProgress(Console(width=100))
    with NotebookView(progress):
        progress.on_start(num_runs=2, num_finished=1, num_processes=1)
        progress.on_run_start(a_spec(), 4)
        progress.on_stage_end(a_spec(), {"index": 0, "train_seconds": 1.0})
        assert progress.fraction() == (1 + 1 / 4) / 2
        assert 'value="0.625"' in NotebookView(progress)._repr_html_()
        progress.on_run_error(a_spec(), "no idea")
    assert 'value="0.000"' in outputs[0]
    assert 'value="1.000"' in outputs[-1]
    assert "2/2 runs" in outputs[-1]


def test_what_is_shown_is_escaped() -> None:
    progress = RunProgress(Console(width=100))
    progress.on_start(num_runs=1, num_finished=0, num_processes=1)
    progress.on_run_start(a_spec(), 4)
    for state in progress.running.values():
        state.name = "<b>name</b>"
    assert "&lt;b&gt;name" in NotebookView(progress)._repr_html_()


def test_laws_are_counted_without_knowing_how_many_there_are(outputs: list[str]) -> None:
    laws = LawProgress(Console(width=100))
    with NotebookView(laws) as view:
        assert "<progress style" in view._repr_html_()
        laws.on_result(LawResult("it is quick", "passed"))
        laws.on_result(LawResult("it is right", "failed", "no"))
    assert "<progress" not in outputs[-1]
    assert "2 laws tried, 1 broken" in outputs[-1]
    assert "failed: it is right" in outputs[-1]

"""The Python API: values, errors and callbacks, without output."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support.commands import PLAIN, child, command, plugin

import plastibench
from plastibench.experiments.spec import Spec
from plastibench.store.record import Record
from plastibench.store.run_store import Store

SMALL = {"stages": 2, "max_epochs": 1, "width": 4, "train_size": 130}
"""Settings of a run of a second."""


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check that nothing is printed, whatever a test calls."""
    yield
    assert capfd.readouterr() == ("", "")


def small_run(home: Path, **options: Any) -> Any:
    return plastibench.run(task="digits", home=home, **{"seeds": 1, "settings": SMALL, **options})


def test_import_is_light_and_every_name_can_be_had() -> None:
    heavy = ("torch", "numpy", "pandas", "mlflow", "optuna", "rich", "click", "platformdirs")
    done = child("-c", f"import sys, plastibench; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr
    for name in plastibench.__all__:
        assert getattr(plastibench, name) is not None
        assert name in dir(plastibench)
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        plastibench.rnu  # noqa: B018


@pytest.mark.heavy
def test_run_returns_records_and_tables_like_the_command_line(tmp_path: Path) -> None:
    result = small_run(tmp_path, methods=["warm", "dash"], seeds=2)
    assert result.num_runs == len(result.records) == 4
    assert result.failures == {}
    assert [row.method for row in result.tables[0].rows] == ["dash", "warm"]
    assert {record.id for record in result.records} == set(Store(tmp_path).ids())
    assert all(len(record.stages) == 2 and record.provenance["seconds"] > 0 for record in result.records)
    assert repr(result) == "<RunResult 'digits': 4 of 4 runs finished, 0 failed>"


def test_probes_of_a_run_are_columns_of_its_results(tmp_path: Path) -> None:
    (record,) = small_run(tmp_path, methods="warm", probes="weight_norm").records
    assert all(row["weight_norm.l2"] > 0 for row in record.stages)
    found = plastibench.results(
        home=tmp_path, task="digits", methods="warm", seeds=1, settings=SMALL, probes=["weight_norm"]
    )
    assert [other.id for other in found] == [record.id]


def test_python_and_command_line_ask_for_the_same_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = small_run(
        tmp_path, methods="dash:dash_2024", seeds=[3, 5], settings={**SMALL, "dash.floor": 0.1}
    )
    words = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    words += ["--set", "dash.floor=0.1", "--method", "dash:dash_2024", "--seeds", "3,5", "--task", "digits"]
    done = command("run", "--no-mlflow", "--home", tmp_path, *words)
    assert "all 2 runs are finished already" in done.err
    assert [record.spec.seed for record in result.records] == [3, 5]
    capfd.readouterr()


def test_finished_runs_are_not_repeated_and_can_be_read(tmp_path: Path) -> None:
    first = small_run(tmp_path, methods="warm")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    again = small_run(tmp_path, methods="warm")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == times
    assert again.records == first.records == plastibench.results(home=tmp_path)
    assert plastibench.results(task="digits", methods="warm", seeds=1, settings=SMALL, home=tmp_path)
    assert [row.method for row in plastibench.table(home=tmp_path)[0].rows] == ["warm"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "wram"}, "no method named 'wram'; did you mean 'warm'"),
        ({"methods": []}, "no methods given"),
        ({"seeds": 0}, "seeds=0 is not allowed"),
        ({"seeds": []}, "seeds= is not allowed"),
        ({"seeds": [1, 1]}, "duplicate seeds: 1"),
        ({"settings": {"stages": "many"}}, "stages=many is not allowed"),
        ({"settings": {"stagess": 2}}, "did you mean 'stages'"),
        ({"suite": "quickstart"}, "either a suite (quickstart) or a task (digits)"),
        ({"device": "gpu"}, "no device named 'gpu'"),
        ({"plugins": ["missing.py"]}, "no plug-in file at missing.py"),
    ],
)
def test_a_wrong_request_raises_and_writes_nothing(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(plastibench.RequestError) as raised:
        small_run(tmp_path / "home", **options)
    assert message in str(raised.value)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("function", ["run", "resume", "tune", "table", "results"])
def test_a_misspelled_argument_raises(function: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'hmoe'"):
        getattr(plastibench, function)(hmoe=tmp_path)


def test_a_home_without_runs_raises(tmp_path: Path) -> None:
    for function in (plastibench.table, plastibench.results):
        with pytest.raises(plastibench.RequestError, match="no finished runs"):
            function(home=tmp_path)


class Recorder(plastibench.RunCallback):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_start(self, num_runs: int, num_finished: int, num_processes: int) -> None:
        self.calls.append(("start", num_runs, num_finished, num_processes))

    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        self.calls.append(("run start", spec.method.name, num_stages))

    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        self.calls.append(("stage end", spec.method.name, row["index"]))

    def on_run_end(self, record: Record) -> None:
        self.calls.append(("run end", record.spec.method.name))

    def on_run_error(self, spec: Spec, message: str) -> None:
        self.calls.append(("run error", spec.method.name, message))


def test_callbacks_are_called_and_a_failed_run_is_a_value(tmp_path: Path) -> None:
    hook = "def before_stage(self, learner):\n    raise ValueError('no idea')"
    recorder = Recorder()
    result = small_run(
        tmp_path / "home",
        methods=["warm", "mine"],
        plugins=[plugin(tmp_path, "mine", hook)],
        callbacks=[recorder],
    )
    warm = [("run start", "warm", 2), ("stage end", "warm", 0), ("stage end", "warm", 1), ("run end", "warm")]
    assert recorder.calls[:5] == [("start", 2, 0, 1), *warm]
    message = "ValueError: no idea (mine.py, line 12)"
    assert recorder.calls[-1] == ("run error", "mine", message)
    assert list(result.failures.values()) == [message]
    assert [record.spec.method.name for record in result.records] == ["warm"]


def test_progress_is_logged_if_the_user_wants_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="plastibench")
    small_run(tmp_path, methods="warm")
    first, last = caplog.messages
    assert first.startswith("digits: 1 run, 0 finished, 1 to do on ")
    assert last.startswith("1/1 digits small_resnet warm seed 0: ")


def test_the_callers_threads_stay(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    small_run(tmp_path, methods="warm", threads=before + 1)
    assert torch.get_num_threads() == before


def test_stopped_runs_are_resumed(tmp_path: Path) -> None:
    class Stop(plastibench.RunCallback):
        def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        small_run(tmp_path, methods="warm", callbacks=[Stop()])
    assert Store(tmp_path).ids() == []
    result = plastibench.resume(home=tmp_path)
    assert [record.spec.method.name for record in result.records] == ["warm"]
    assert plastibench.resume(home=tmp_path).records == []
    with pytest.raises(plastibench.RequestError, match="no run named 'zzz'"):
        plastibench.resume("zzz", home=tmp_path)


@pytest.mark.heavy
def test_tune_returns_its_studies_and_a_suite_to_run(tmp_path: Path) -> None:
    trials: list[int] = []

    class Trials(plastibench.TuningCallback):
        def on_trial_end(self, study: Any, trial: Any) -> None:
            trials.append(trial.number)

    tuning = plastibench.tune(
        task="digits",
        methods="warm",
        seeds=1,
        settings=SMALL,
        trials=2,
        search="learning_rate",
        seeds_per_trial=1,
        jobs=1,
        home=tmp_path,
        callbacks=[Trials()],
    )
    assert trials == [0, 1]
    assert len(tuning.studies) == 1
    assert tuning.suite == tmp_path / "tuned" / f"{tuning.name}.toml"
    assert not tuning.has_failures
    assert tuning.frame[["method", "trial", "state"]].values.tolist() == [
        ["warm", 0, "complete"],
        ["warm", 1, "complete"],
    ]
    assert tuning.frame["is_published"].tolist() == [True, False]
    assert "learning_rate" in tuning.frame.columns
    assert not [name for name in tuning.frame.columns if hasattr(pd.DataFrame(), name)]
    result = plastibench.run(tuning.name, tuned=True, home=tmp_path)
    assert result.failures == {}
    assert all(record.spec.seed == 0 for record in result.records)


def test_a_tuning_without_a_budget_raises(tmp_path: Path) -> None:
    with pytest.raises(plastibench.RequestError, match="no budget"):
        plastibench.tune(task="digits", methods="warm", home=tmp_path)


@pytest.mark.heavy
def test_frame_and_report_read_finished_runs(tmp_path: Path) -> None:
    small_run(tmp_path, methods=["warm", "dash"])
    frame = plastibench.frame(home=tmp_path)
    assert frame.groupby("method").stage.max().to_dict() == {"dash": 2, "warm": 2}
    assert set(frame["dash.floor"].dropna()) == {0.3}
    page = plastibench.report(tmp_path / "page.html", methods="dash", home=tmp_path, **selected())
    assert page.read_text(encoding="utf-8").count("<h1>") == 1


def selected() -> dict[str, Any]:
    return {"task": "digits", "seeds": 1, "settings": SMALL}


@pytest.mark.heavy
def test_check_has_a_row_for_each_law(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", source=PLAIN.replace(" (arXiv 0000.00000)", ""))
    laws = plastibench.check("mine", fail_fast=True, plugins=[file])
    assert list(laws.columns) == ["law", "verdict", "detail"]
    assert laws.verdict.tolist()[0] == "passed"
    assert laws.verdict.tolist()[-1] == "failed"
    assert laws.detail.tolist()[-1].startswith("Mine's docstring names no source")
    with pytest.raises(plastibench.RequestError, match="class int is no method"):
        plastibench.check(int)


def test_progress_is_shown_as_lines_if_it_is_wanted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own are like those of a user
    small_run(tmp_path, methods="warm", progress=True)
    said = capfd.readouterr()
    assert said.out == ""
    assert "1/1 digits small_resnet warm seed 0: " in said.err
    assert logging.getLogger("plastibench").level == logging.NOTSET

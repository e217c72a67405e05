"""Classes beside names in the Python API, and scripts that call it without a main guard."""

from __future__ import annotations

import multiprocessing
import runpy
from pathlib import Path

import pandas as pd
import pytest
from support.commands import PLAIN, child, command
from support.reports import a_home, some_runs

import plastibench
from plastibench.store.run_store import Store
from plastibench.system.processes import check_can_start

SMALL = {"stages": 2, "max_epochs": 1, "width": 4, "train_size": 130}
SCRIPT = f"""{PLAIN}
    strength: float = 0.5

    def before_stage(self, learner: Learner) -> None:
        learner.head.weight.mul_(self.strength * TWICE)


import plastibench

TWICE = 2
print("executed")
result = plastibench.run(
    task="digits", methods=["warm", Mine], seeds=1, settings={SMALL}, home=HOME, jobs=JOBS
)
print(sorted(record.spec.method.name for record in result.records), result.failures)
"""


@pytest.mark.heavy
def test_a_class_of_a_script_without_a_guard_runs_in_workers_and_is_verified_elsewhere(
    tmp_path: Path,
) -> None:
    text = SCRIPT.replace("HOME", repr(str(tmp_path / "home"))).replace("JOBS", "2")
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    done = child(str(tmp_path / "script.py"))
    assert done.stdout.splitlines() == ["executed", "['mine', 'warm'] {}"], done.stderr
    (tmp_path / "script.py").unlink()
    (run,) = [record.id for record in Store(tmp_path / "home").records() if record.spec.method.name == "mine"]
    verified = command("verify", run, "--home", tmp_path / "home")
    assert verified.status == 0, verified.err


@pytest.mark.heavy
def test_the_result_has_a_table_a_frame_and_a_report(tmp_path: Path) -> None:
    text = SCRIPT.replace("HOME", repr(str(tmp_path / "home"))).replace("JOBS", "1").replace("TWICE)", "2)")
    (tmp_path / "script.py").write_text(text.replace("seeds=1", "seeds=2"), encoding="utf-8")
    result = runpy.run_path(str(tmp_path / "script.py"), run_name="__main__")["result"]
    table = result.table
    gain = next(row.gain for row in table.rows if row.method == "mine").interval_text()
    assert gain in repr(table)
    mean, interval = gain.split(" ", 1)
    assert f"{mean}<small> {interval}</small>".replace("-", "\N{MINUS SIGN}") in table._repr_html_()
    frame = result.frame
    assert frame[["seed", "method", "stage"]].value_counts().to_list() == [1] * 8
    assert set(frame["stage"]) == {1, 2}
    own = frame[frame["method"] == "mine"]
    assert set(own["mine.strength"]) == {0.5}
    assert frame[frame["method"] == "warm"]["mine.strength"].isna().all()
    assert [name for name in frame.columns if hasattr(pd.DataFrame(), name)] == []
    page = result.report(tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    assert "mine" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": 3}, "method 3 is neither a name nor a class"),
        ({"methods": dict}, "class dict is no method: it must extend Method"),
        ({"methods": plastibench.RunCallback()}, "is neither a name nor a class"),
    ],
)
def test_what_is_no_plug_in_is_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(plastibench.RequestError, match=message):
        plastibench.run(task="digits", home=tmp_path, **options)  # type: ignore[arg-type]


def test_an_instance_is_refused_with_the_way_to_give_settings(tmp_path: Path) -> None:
    from plastibench.plugins.registry import Registry

    dash = Registry().load("method", "dash")
    with pytest.raises(plastibench.RequestError, match="give the class, Dash, and its settings by"):
        plastibench.run(task="digits", methods=[dash(floor=0.2)], home=tmp_path)


def test_several_tables_are_all_shown(tmp_path: Path) -> None:
    a_home(tmp_path, [*some_runs(task="one"), *some_runs(task="two")])
    tables = plastibench.table(home=tmp_path)
    assert repr(tables).startswith("2 tables, one for each setting: [0] to [1] are single ones")
    assert tables._repr_html_().count("<table>") == 3, "two settings, and what aggregates them"
    assert "over 2 settings" in repr(tables)
    assert repr(tables[1]) in repr(tables)


def test_a_process_that_cannot_start_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    process = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(plastibench.RequestError, match=r"jobs=2 is not allowed in a worker of .*Pool"):
        check_can_start("jobs=2")
    monkeypatch.setitem(process._config, "daemon", False)  # type: ignore[attr-defined]
    check_can_start("jobs=2")
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(
        plastibench.RequestError, match=r"is executing it from the top; put the call under if"
    ):
        check_can_start("jobs=2")

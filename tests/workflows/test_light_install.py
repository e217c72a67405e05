"""Without the packages of extras, runs and tables work, and every other command says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.commands import SMALL, command
from support.tracking import a_record, save

import plastibench
from plastibench import RequestError, tracking

OPTIONAL = ("mlflow", "optuna", "sqlalchemy", "alembic", "psycopg", "ray", "optuna_dashboard")


@pytest.fixture(autouse=True)
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let imports of optional packages fail, whatever has been imported before."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OPTIONAL]:
        monkeypatch.delitem(sys.modules, name)
    for name in OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.heavy
def test_runs_and_tables_work_and_one_line_says_that_there_is_no_mirror(tmp_path: Path) -> None:
    home = ("--home", tmp_path)
    answer = command("run", *home, *SMALL, "--seeds", 1, "--method", "warm")
    assert answer.status == 0, answer
    wanted = "it needs mlflow, which is not installed: pip install 'plastibench[mlflow]'"
    assert [wanted in line for line in answer.lines()].count(True) == 1
    assert len(list(tmp_path.rglob("run.json"))) == 1
    assert not (tmp_path / tracking.DATABASE).exists()
    table = command("table", *home)
    assert (table.status, "warm" in table.out) == (0, True), table
    assert command("status", *home).status == 0
    assert command("run", *home, "--no-mlflow", *SMALL, "--seeds", 1, "--method", "warm").status == 0


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (("tune", "--task", "digits", "--trials", "1"), "optuna", "tune"),
        (("tune", "--report"), "optuna", "tune"),
        (("sync",), "mlflow", "mlflow"),
        (("ui",), "mlflow", "mlflow"),
        (("run", "--task", "digits", "--tracking-uri", "sqlite:///x.db"), "mlflow", "mlflow"),
        (("tune", "--task", "digits", "--trials", "1", "--storage", "postgresql://x/y"), "optuna", "tune"),
        (("table", "--from", "http://127.0.0.1:9"), "mlflow", "mlflow"),
        (("table", "--from", "postgresql://127.0.0.1:9/x"), "mlflow", "mlflow"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_command_that_lacks_a_package_says_what_to_install_before_it_does_anything(
    words: tuple[str, ...], package: str, extra: str, tmp_path: Path
) -> None:
    save(tmp_path, a_record(0))
    before = sorted(tmp_path.rglob("*"))
    answer = command(*words, "--home", tmp_path)
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert f"needs {package}, which is not installed: pip install 'plastibench[{extra}]'" in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_python_api_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"`tune` needs optuna.*plastibench\[tune\]"):
        plastibench.tune(task="digits", trials=1, home=tmp_path)

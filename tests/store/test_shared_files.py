"""Files of a home folder that several processes add to: nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plastibench.store import leaderboards, tuned_settings, verifications

ADD_SETTINGS = """
from plastibench.store.tuned_settings import TunedSettings, save
def add(name):
    save(home, {name: TunedSettings("study", 1, 0)})
"""
ADD_RUNS = """
from plastibench.store.leaderboards import add_runs
def add(name):
    add_runs(home, "board", [name])
"""
ADD_MARKS = """
from plastibench.store.verifications import Mark, save
def add(name):
    save(home, {name: Mark("equal", "0", "2026-01-01", "cpu", 1, "2", "0")})
"""
WORKER = """
import sys
from pathlib import Path
home, worker = Path(sys.argv[1]), sys.argv[2]
{add}
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    add(f"{{worker}}-{{number}}")
"""


def run_workers(add: str, home: Path) -> set[str]:
    """Let three processes add 20 names each at the same time; return all names."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.format(add=add), str(home), str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for worker in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    return {f"{worker}-{number}" for worker in range(3) for number in range(20)}


@pytest.mark.heavy
def test_tuned_settings_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    names = run_workers(ADD_SETTINGS, tmp_path)
    assert set(tuned_settings.load(tmp_path)) == names
    assert [path.name for path in (tmp_path / "tuned").iterdir()] == [tuned_settings.FILE]


@pytest.mark.heavy
def test_runs_that_several_processes_add_to_a_leaderboard_are_all_kept(tmp_path: Path) -> None:
    names = run_workers(ADD_RUNS, tmp_path)
    assert leaderboards.load(tmp_path) == {"board": sorted(names)}
    assert [path.name for path in tmp_path.iterdir()] == [leaderboards.LEADERBOARDS_FILE]


@pytest.mark.heavy
def test_marks_that_several_processes_add_are_all_kept(tmp_path: Path) -> None:
    names = run_workers(ADD_MARKS, tmp_path)
    assert set(verifications.load(tmp_path)) == names


def test_a_damaged_file_is_set_aside_before_a_new_one_is_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, content = tmp_path / leaderboards.LEADERBOARDS_FILE, '{"a": ["1"],}'
    path.write_text(content)
    leaderboards.add_runs(tmp_path, "b", ["2"])
    assert leaderboards.load(tmp_path) == {"b": ["2"]}
    assert path.with_name(f"{path.name}.damaged").read_text() == content
    chosen = tmp_path / "tuned" / tuned_settings.FILE
    chosen.parent.mkdir()
    chosen.write_text("{,")
    tuned_settings.save(tmp_path, {"variant": tuned_settings.TunedSettings("study", 1, 0)})
    assert set(tuned_settings.load(tmp_path)) == {"variant"}
    assert chosen.with_name(f"{chosen.name}.damaged").read_text() == "{,"
    assert caplog.text.count("is damaged") == 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "\xff"])
def test_damaged_leaderboards_are_empty(content: str, tmp_path: Path) -> None:
    (tmp_path / leaderboards.LEADERBOARDS_FILE).write_text(content)
    assert leaderboards.load(tmp_path) == {}

"""The command line from end to end: what is run, what is kept, what is expected, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.commands import SMALL, child, command, plugin, program, small_run

HEAVY = ("torch", "mlflow", "optuna", "pandas", "numpy", "scipy", "methods", "tasks")
WATCH = f"""
import sys
sys.argv = ["plastibench", *sys.argv[1:]]
from plastibench.cli.main import main
try:
    main()
finally:
    print("loaded:", *[name for name in {HEAVY} if name in sys.modules])
"""
LIGHT = (
    ["--help"],
    ["list"],
    ["list", "--json"],
    *([name, "--help"] for name in ("run", "table", "list", "doctor", "ui")),
)


def records(home: Path) -> list[Path]:
    return sorted(home.glob("runs/??/*/run.json"))


def loaded(*words: str) -> set[str]:
    last = child("-c", WATCH, *words).stdout.splitlines()[-1]
    assert last.startswith("loaded:")
    return set(last.split()[1:])


@pytest.mark.heavy
@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_help_and_lists_import_nothing_heavy(words: list[str]) -> None:
    assert loaded(*words) == set()


@pytest.mark.heavy
@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "--help"]], ids=" ".join)
def test_help_and_lists_take_less_than_three_tenths_of_a_second(words: list[str]) -> None:
    # Processor time, since other work on the machine must not decide.
    import resource

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert child("-m", "plastibench", *words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.3 for _ in range(5))


@pytest.mark.heavy
def test_run_prints_its_table_and_the_folder_of_the_runs(tmp_path: Path) -> None:
    answer = small_run(tmp_path, "--method", "warm,dash", "--seeds", "2")
    assert answer.status == 0
    assert len(records(tmp_path)) == 4
    assert "gain over warm" in answer.out
    assert "4 runs, 0 finished, 4 to do" in answer.err
    assert f"runs: {tmp_path.resolve() / 'runs'}" in answer.err


def test_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first = small_run(tmp_path, "--method", "warm")
    runs = tmp_path / "runs"  # what was asked for stands beside it, and grows below
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    again = small_run(tmp_path, "--method", "warm")
    assert again.status == 0
    assert "the run is finished already" in again.err
    assert again.out == first.out
    grown = small_run(tmp_path, "--method", "warm", "--seeds", "2")
    assert "2 runs, 1 finished, 1 to do" in grown.err
    assert {path: path.stat().st_mtime_ns for path in before if path.is_file()}.items() <= before.items()


def test_one_of_a_kind_is_not_written_in_the_plural(tmp_path: Path) -> None:
    ask = ("--method", "warm", "--seeds", "1")
    words = [("status", "--home", tmp_path), ("table", "--home", tmp_path), ("doctor", "--home", tmp_path)]
    shown = [small_run(tmp_path, *ask), small_run(tmp_path, *ask), *(command(*each) for each in words)]
    texts = [answer.out + answer.err for answer in shown]
    assert "1 run, 0 finished" in texts[0]
    for text in texts:
        assert re.findall(r"(?<![\d.,/])1 (?!digits)[a-z]+s\b", text) == []


def test_edited_plugin_makes_a_new_run_and_its_comments_do_not(tmp_path: Path) -> None:
    file, home = plugin(tmp_path, "mine"), tmp_path / "home"
    ask = ("--plugin", file, "--method", "mine")
    assert small_run(home, *ask).status == 0
    file.write_text("# a comment\n" + file.read_text().replace("Do nothing", "Do  what\n\n    you like"))
    assert "the run is finished already" in small_run(home, *ask).err
    plugin(tmp_path, "mine", "STRENGTH = 0.5")
    assert "1 run, 0 finished, 1 to do" in small_run(home, *ask).err
    assert len(records(home)) == 2


def test_paths_with_spaces_and_unicode_work(tmp_path: Path) -> None:
    place = tmp_path / "a b [x] \u00e9\u4e2d :smile:"
    place.mkdir()
    answer = small_run(place / "home", "--plugin", plugin(place, "m\u00efne"), "--method", "m\u00efne")
    assert answer.status == 0, answer
    assert str(place / "home" / "runs") in answer.err
    assert "m\u00efne" in answer.out
    assert "m\u00efne" in command("table", "--home", place / "home", "--format", "md").out


def test_method_that_raises_fails_its_own_runs_only(tmp_path: Path) -> None:
    hook = "def before_stage(self, learner):\n    raise ValueError('no [bold] idea\\nat all')"
    file = plugin(tmp_path, "mine", hook)
    answer = small_run(tmp_path / "home", "--plugin", file, "--method", "mine,warm")
    assert answer.status == 1
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in answer.lines() if "idea" in line] == [
        "digits small_resnet mine seed 0: failed: ValueError: no [bold] idea (mine.py, line 12)"
    ]
    assert "1 of 2 runs failed, the others are kept" in answer.err
    assert "Traceback" not in answer.err
    (kept,) = tmp_path.rglob("failed.json")
    assert f"traceback: {kept} (--verbose prints the traceback)" in answer.err
    assert "before_stage" in json.loads(kept.read_text())["traceback"]
    assert len(records(tmp_path / "home")) == 1
    assert "warm" in answer.out
    (events,) = (path for path in tmp_path.rglob("events.jsonl") if not (path.parent / "run.json").exists())
    assert "before_stage" in json.loads(events.read_text().splitlines()[-1])["traceback"]


def test_a_traceback_of_a_run_is_printed_if_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_TRACEBACK", "1")
    file = plugin(tmp_path, "mine", "def before_stage(self, learner):\n    self._scale(learner, 3)")
    file.write_text(file.read_text() + "\n    def _scale(self, learner):\n        pass\n")
    answer = small_run(tmp_path / "home", "--plugin", file, "--method", "mine")
    assert answer.status == 1
    assert answer.err.count("Traceback (most recent call last)") == 1
    assert "in before_stage\n    self._scale(learner, 3)" in answer.err
    assert (
        "failed: TypeError: Mine._scale() takes 2 positional arguments but 3 were given (mine.py"
        in answer.err
    )


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("SystemExit(0)", "failed: SystemExit: 0 (mine.py"),
        ("MemoryError()", "out of memory: lower batch_size, the model's width, or --jobs"),
        ("RuntimeError('DefaultCPUAllocator: not enough memory: 9 GB')", "out of memory: lower batch_size"),
        (
            "__import__('torch').cuda.OutOfMemoryError('CUDA out of memory. x')",
            "out of memory: lower batch_size",
        ),
        (
            "__import__('torch').OutOfMemoryError('Out of memory. Tried to allocate 2.50 GiB. GPU')",
            "out of memory, 2.50 GiB requested: lower batch_size",
        ),
        ("OSError(28, 'No space left on device', 'x/y')", "failed: No space left on device: x/y"),
    ],
)
def test_any_exception_of_a_method_prints_one_line(raised: str, expected: str, tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", f"def start(self, learner):\n    raise {raised}")
    answer = small_run(tmp_path / "home", "--plugin", file, "--method", "mine")
    assert answer.status == 1
    assert [expected in line for line in answer.lines()].count(True) == 1, answer.err
    assert records(tmp_path / "home") == []


def test_run_out_of_memory_fails_alone_and_names_the_amount(tmp_path: Path) -> None:
    hook = "def after_step(self, learner):\n    import torch\n    torch.ones(2**48, dtype=torch.uint8)"
    answer = small_run(tmp_path / "home", "--plugin", plugin(tmp_path, "mine", hook), "--method", "mine,warm")
    assert answer.status == 1
    (line,) = (line for line in answer.lines() if "out of memory" in line)
    assert "failed: out of memory, 262,144.00 GiB requested: lower batch_size, the model's width, or" in line
    assert len(records(tmp_path / "home")) == 1


def test_damaged_run_is_named_left_out_and_executed_again(tmp_path: Path) -> None:
    small_run(tmp_path, "--method", "warm,dash")
    damaged = records(tmp_path)[0]
    damaged.write_text(damaged.read_text()[:-40])
    table = command("table", "--home", tmp_path, "--format", "csv")
    assert table.status == 1
    assert str(damaged) in table.err
    assert len(table.lines()) == 1
    assert len(table.out.splitlines()) == 2
    again = small_run(tmp_path, "--method", "warm,dash")
    assert again.status == 0
    assert "the run is executed again" in again.err
    assert "2 runs, 1 finished, 1 to do" in again.err
    assert command("table", "--home", tmp_path).status == 0


def test_run_and_table_print_the_same_table(tmp_path: Path) -> None:
    ran = small_run(tmp_path, "--method", "warm,dash")
    asked = command("table", "--home", tmp_path, *SMALL, "--seeds", "1", "--method", "warm,dash")
    assert asked.out == ran.out == command("table", "--home", tmp_path).out
    rows = json.loads(command("table", "--home", tmp_path, "--format", "json").out)["tables"][0]["rows"]
    assert [row["method"] for row in rows] == ["dash", "warm"]
    assert command("table", "--home", tmp_path, "--baseline", "dash").out.count("gain over dash") == 1
    wrong = command("table", "--home", tmp_path, "--baseline", "dahs")
    assert (wrong.status, len(wrong.lines())) == (2, 1)


@pytest.mark.heavy
def test_run_without_a_mirror_imports_neither_mlflow_nor_optuna(tmp_path: Path) -> None:
    words = ["run", "--no-mlflow", "--home", str(tmp_path), "--method", "warm", "--seeds", "1", *SMALL]
    found = loaded(*words)
    assert found & {"mlflow", "optuna", "methods", "tasks"} == set()
    assert "torch" in found, "the tests that nothing heavy is imported could not fail"
    assert len(records(tmp_path)) == 1


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.heavy
def test_interrupted_grid_prints_that_it_stops_and_leaves_no_process(tmp_path: Path) -> None:
    words = program(
        "run",
        "--no-mlflow",
        "--no-estimate",
        "--home",
        tmp_path,
        "--jobs",
        2,
        "--method",
        "warm",
        "--set",
        "target_accuracy=none",
    )
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What starts the tests may ignore Ctrl-C, and a program keeps ignoring what it inherits so.
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - no thread of this process holds a lock
    ) as running:
        _wait_for_file(tmp_path, "events.jsonl", running)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert [line for line in err.splitlines() if "to do" not in line and "stage" not in line] == [
        "plastibench: stopping after this step and saving the state; press Ctrl-C again to stop at once",
        "plastibench: interrupted; run the same command again to continue",
    ]
    assert records(tmp_path) == []
    _wait_for_end(running.pid)


@pytest.mark.heavy
def test_closed_output_is_not_an_error(tmp_path: Path) -> None:
    words = f"{shlex.join(map(str, program('list')))} | true"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    with Path("/dev/full").open("w") as device:
        full = subprocess.run(program("list"), stdout=device, stderr=subprocess.PIPE, text=True, check=False)
    assert full.stderr.count("\n") == 1
    assert "No space left on device" in full.stderr
    assert full.returncode == 1


def _wait_for_file(home: Path, name: str, running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not list(home.rglob(name)):
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


def _wait_for_end(group: int) -> None:
    """Wait until no process of the group is left."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process is left")

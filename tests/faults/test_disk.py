"""A full disk and a read-only home: an error line, an exit status, and later the same bits."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.faults import (
    Trial,
    grid,
    is_root,
    mounted_disk,
    run_completes,
    start_with_fault,
    starts,
    wait_for,
    wait_for_exit,
)

pytestmark = pytest.mark.heavy

ARGS = grid("warm", seeds=2)


def run_with_fault(home: Path, fault: dict[str, object]) -> str:
    """Run a grid with a fault; return its stderr. Small results may be written nevertheless."""
    status, stderr = wait_for_exit(
        start_with_fault(fault, "run", "--no-mlflow", "--home", home, "--jobs", 1, *ARGS)
    )
    assert status in (0, 1, 2), stderr
    assert stderr.count("no checkpoint could be written") <= 2, "it is logged once a run"
    return stderr


@pytest.mark.times(short=1, full=12)
def test_runs_complete_once_a_full_disk_has_room(number: int, tmp_path: Path, trial: Trial) -> None:
    size = random.Random(number).randrange(1, 16)  # pages of 4 KiB: an unfinished run takes about 16
    home = tmp_path / "home"
    with trial("full disk"), mounted_disk(home, f"{4 * size}k") as resize:
        stderr = run_with_fault(home, {})
        assert "No space left on device" in stderr
        resize("64m")
        run_completes(home, ARGS)


@pytest.mark.times(short=1, full=6)
def test_runs_complete_after_a_limit_on_the_size_of_files(number: int, tmp_path: Path, trial: Trial) -> None:
    with trial("limit on the size of a file"):
        largest = random.Random(number).randrange(10, 3000)
        stderr = run_with_fault(tmp_path, {"largest": largest})
        assert "File too large" in stderr
        run_completes(tmp_path, ARGS)


@pytest.mark.times(short=1, full=6)
def test_runs_complete_after_the_home_was_read_only(number: int, tmp_path: Path, trial: Trial) -> None:
    fault: dict[str, object] = {"without_root": is_root()}
    with trial("home made read-only in the middle of a run"):
        running = start_with_fault(fault, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 1, *ARGS)
        wait_for(lambda: starts(tmp_path), running)
        time.sleep(random.Random(number).uniform(0, 0.3))
        folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        status, stderr = wait_for_exit(running)
        for folder in folders:
            folder.chmod(0o755)
        assert status == 1, stderr
        assert "Permission denied" in stderr
        run_completes(tmp_path, ARGS)

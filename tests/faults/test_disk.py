"""A full disk and a home that cannot be written any more: a line, a status, and later the same bits."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.faults import Trial, doomed, ended, goes_on, grid, is_root, small_disk, starts, wait_for

WORDS = grid("warm", seeds=2)


def disturbed(home: Path, fault: dict[str, object]) -> str:
    """Carry out a grid under a fault; return what it said. Small results may be written all the same."""
    status, said = ended(doomed(fault, "run", "--no-mlflow", "--home", home, "--jobs", 1, *WORDS))
    assert status in (0, 1, 2), said
    assert said.count("no checkpoint could be written") <= 2, "it is said once a run"
    return said


@pytest.mark.times(short=1, full=12)
def test_full_disk_spoils_nothing_and_room_is_all_that_is_needed(
    number: int, tmp_path: Path, trial: Trial
) -> None:
    size = random.Random(number).randrange(1, 16)  # pages of 4 KiB: an unfinished run takes about 16
    home = tmp_path / "home"
    with trial("full disk"), small_disk(home, f"{4 * size}k") as resize:
        said = disturbed(home, {})
        assert "No space left on device" in said
        resize("64m")
        goes_on(home, WORDS)


@pytest.mark.times(short=1, full=6)
def test_limit_on_the_size_of_files_spoils_nothing(number: int, tmp_path: Path, trial: Trial) -> None:
    with trial("limit on the size of a file"):
        largest = random.Random(number).randrange(10, 3000)
        said = disturbed(tmp_path, {"largest": largest})
        assert "File too large" in said
        goes_on(tmp_path, WORDS)


@pytest.mark.times(short=1, full=6)
def test_home_that_becomes_read_only_spoils_nothing(number: int, tmp_path: Path, trial: Trial) -> None:
    fault: dict[str, object] = {"mortal": is_root()}
    with trial("home made read-only in the middle of a run"):
        running = doomed(fault, "run", "--no-mlflow", "--home", tmp_path, "--jobs", 1, *WORDS)
        wait_for(lambda: starts(tmp_path), running)
        time.sleep(random.Random(number).uniform(0, 0.3))
        folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        status, said = ended(running)
        for folder in folders:
            folder.chmod(0o755)
        assert status == 1, said
        assert "Permission denied" in said
        goes_on(tmp_path, WORDS)

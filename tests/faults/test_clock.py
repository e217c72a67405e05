"""Clocks that are set back during a run: nothing that decides or measures uses the time of day."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest
from support.faults import (
    Trial,
    grid,
    run_completes,
    same_as_undisturbed,
    start_with_fault,
    starts,
    wait_for,
    wait_for_exit,
)

from plastibench.store.run_store import Store

pytestmark = pytest.mark.heavy

LIBRARY = Path("vendor", "libfaketime", "src", "libfaketime.so.1")


def environment(clock: Path) -> dict[str, str]:
    """Return an environment in which a file sets the time of day, but not the monotonic clock."""
    found = importlib.util.find_spec("libfaketime")
    library = Path(str(found.origin)).parent / LIBRARY if found is not None else LIBRARY
    if not library.is_file():
        pytest.skip("needs libfaketime to set a process's clock: pip install libfaketime")
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.times(short=1, full=5)
def test_setting_the_clock_changes_no_number(number: int, tmp_path: Path, trial: Trial) -> None:
    home, clock, args = tmp_path / "home", tmp_path / "clock", grid("warm", seeds=2)
    clock.write_text("+0\n")
    with trial("clock set back by years, then forward"):
        start = time.monotonic()
        running = start_with_fault(
            {}, "run", "--no-mlflow", "--home", home, "--jobs", 1, *args, env=environment(clock)
        )
        wait_for(lambda: starts(home), running)
        clock.write_text("-3650d\n")
        wait_for(lambda: starts(home) > 1, running)
        clock.write_text("+3650d\n")
        status, stderr = wait_for_exit(running)
        assert status == 0, stderr
        same_as_undisturbed(home, args)
        for record in Store(home).records():
            assert 0 < record.provenance["seconds"] < time.monotonic() - start
            years = [record.provenance[name][:4] for name in ("started", "finished")]
            assert years[0] != years[1], "the clock was not set"
        run_completes(home, args)

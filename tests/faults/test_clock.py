"""Clocks that are set back in the middle of a run: nothing that decides or measures asks the time of day."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest
from support.faults import Trial, doomed, ended, goes_on, grid, same_as_undisturbed, starts, wait_for

from plastibench.store.run_store import Store

LIBRARY = Path("vendor", "libfaketime", "src", "libfaketime.so.1")


def environment(clock: Path) -> dict[str, str]:
    """Return an environment in which the time of day is what a file says; clocks nobody can set stay."""
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
def test_clock_set_back_changes_no_number(number: int, tmp_path: Path, trial: Trial) -> None:
    home, clock, words = tmp_path / "home", tmp_path / "clock", grid("warm", seeds=2)
    clock.write_text("+0\n")
    with trial("clock set back by years, then forward"):
        began = time.monotonic()
        running = doomed(
            {}, "run", "--no-mlflow", "--home", home, "--jobs", 1, *words, env=environment(clock)
        )
        wait_for(lambda: starts(home), running)
        clock.write_text("-3650d\n")
        wait_for(lambda: starts(home) > 1, running)
        clock.write_text("+3650d\n")
        status, said = ended(running)
        assert status == 0, said
        same_as_undisturbed(home, words)
        for record in Store(home).records():
            assert 0 < record.provenance["seconds"] < time.monotonic() - began
            years = [record.provenance[name][:4] for name in ("started", "finished")]
            assert years[0] != years[1], "the clock was not set"
        goes_on(home, words)

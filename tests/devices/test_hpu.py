"""The Gaudi path, on a stand-in device backed by the CPU. No card has run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


@lru_cache
def printed(optimizer: str, precision: str, lazy: str) -> dict[str, Any]:
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PT_HPU_LAZY_MODE": lazy, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    words = [sys.executable, "-W", "ignore", "-m", "support.hpu_program", optimizer, precision]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if "cannot import name '_setup_privateuseone_for_python_backend'" in done.stderr:
        pytest.skip("this torch has no Python backends to make the stand-in from")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def outcome(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = printed(*words)["methods"]
    return found


EAGER_SGD, LAZY_SAM = ("sgd", "fp32", "0"), ("sam", "fp32", "1")


@pytest.mark.parametrize("words", [EAGER_SGD, LAZY_SAM])
def test_every_method_gives_the_bits_of_the_cpu(words: tuple[str, str, str]) -> None:
    found = outcome(*words)
    assert len(found) >= 7
    assert [name for name, what in found.items() if not what["equal"]] == []


@pytest.mark.parametrize("words", [EAGER_SGD, LAZY_SAM])
def test_the_host_waits_once_an_epoch_and_once_an_evaluation(words: tuple[str, str, str]) -> None:
    for name, what in outcome(*words).items():
        assert what["asked"]["host_sync"] == what["epochs"] + what["stages"], name


def test_the_cards_own_stream_is_seeded_at_every_stage() -> None:
    assert all(what["asked"]["manual_seed_all"] >= what["stages"] for what in outcome(*EAGER_SGD).values())


def test_steps_are_not_marked_in_eager_mode() -> None:
    assert all("mark_step" not in what["asked"] for what in outcome(*EAGER_SGD).values())


def test_steps_are_marked_behind_every_pass_and_update_in_lazy_mode() -> None:
    for name, what in outcome(*LAZY_SAM).items():
        # SAM: two passes and an update a step; then evaluation, and what a remedy does itself.
        assert what["asked"]["mark_step"] >= 3 * what["steps"], name
        assert what["passes"] == 2 * what["samples"], name


def test_bf16_runs_through_autocast() -> None:
    found = outcome("sgd", "bf16", "0")
    assert all(what["steps"] > 0 for what in found.values())


def test_a_compiler_that_the_software_lacks_is_said_and_done_without() -> None:
    lacks = "torch has no compiler 'hpu_backend' here: passes are computed operation by operation"
    assert all(what["said"] == [lacks] for what in outcome(*EAGER_SGD).values())
    assert printed(*EAGER_SGD)["doctor"]["compiler"] == "hpu_backend, which torch does not have"


def test_no_compiler_is_asked_for_in_lazy_mode() -> None:
    assert all(what["said"] == [] for what in outcome(*LAZY_SAM).values())
    assert "compiler" not in printed(*LAZY_SAM)["doctor"]

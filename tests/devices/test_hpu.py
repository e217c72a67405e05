"""The Gaudi path, on a CPU-backed stand-in. Not yet run on a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.workers import once

from plastibench.plugins.registry import Registry

pytestmark = pytest.mark.heavy

TESTS = Path(__file__).parents[1]


EAGER, LAZY = ("sgd-fp32", "sgd-bf16", "sgd-fp32-small_resnet"), ("sam-fp32",)
"""Recipes that are run with PT_HPU_LAZY_MODE=0 and with 1: one process each."""
OTHERS = {False: ("sam-fp32",), True: ("sgd-fp32",)}
"""The optimizers that these leave out, by whether the mode is lazy: slow."""
Found = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> Found:
    """Return what gives the results of the program that ran a recipe: of all methods, or of one in three."""
    every = 1 if request.config.getoption("--slow") else 3

    def of(recipe: str) -> dict[str, Any]:
        recipes = LAZY if recipe in LAZY else EAGER
        program = once(f"hpu-{recipe in LAZY}", lambda: run_program(recipes, every, lazy=recipe in LAZY))
        return dict(program)

    return of


def run_program(recipes: tuple[str, ...], every: int, *, lazy: bool) -> dict[str, Any]:
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    mode = {"PT_HPU_LAZY_MODE": str(int(lazy)), "HABANA_VISIBLE_MODULES": "3"}
    environment = {**os.environ, **mode, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    words = ["-W", "ignore", "-m", "support.hpu_program", str(every), *recipes]
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    if "cannot import name '_setup_privateuseone_for_python_backend'" in done.stderr:
        pytest.skip("this torch has no Python backends to make the stand-in from")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture
def methods(found: Found) -> Found:
    """Return what gives the results of each method for a recipe."""
    return lambda recipe: found(recipe)["methods"][recipe]


EAGER_SGD, LAZY_SAM = "sgd-fp32", "sam-fp32"


def test_convolutions_give_the_bits_of_the_cpu(methods: Found) -> None:
    ran = methods("sgd-fp32-small_resnet")
    assert {name: what["equal"] for name, what in ran.items()} == dict.fromkeys(ran, True)
    assert "dash" in ran


@pytest.mark.parametrize("recipe", [EAGER_SGD, LAZY_SAM])
def test_every_method_gives_the_bits_of_the_cpu(methods: Found, recipe: str) -> None:
    ran = methods(recipe)
    assert len(ran) >= 7
    assert [name for name, what in ran.items() if not what["equal"]] == []


@pytest.mark.parametrize("recipe", [EAGER_SGD, LAZY_SAM])
def test_the_host_waits_once_an_epoch_and_once_an_evaluation(methods: Found, recipe: str) -> None:
    for name, what in methods(recipe).items():
        waits = what["calls"]["host_sync"] - what["epochs"] - what["stages"] - what["kept"]
        assert 0 <= waits <= what["logged"], name  # what a method reports is read when the stage ends


def test_the_cards_generator_is_seeded_at_every_stage(methods: Found) -> None:
    assert all(what["calls"]["manual_seed_all"] >= what["stages"] for what in methods(EAGER_SGD).values())


def test_steps_are_not_marked_in_eager_mode(methods: Found) -> None:
    assert all("mark_step" not in what["calls"] for what in methods(EAGER_SGD).values())


def test_steps_are_marked_after_every_pass_and_update_in_lazy_mode(methods: Found) -> None:
    for name, what in methods(LAZY_SAM).items():
        # SAM: two passes and an update per step; then evaluation, and what a method does itself.
        passes = 2 if what["optimizer"] == "sam" else 1  # a method may have an optimizer of its own
        assert what["calls"]["mark_step"] >= (passes + 1) * what["steps"], name
        assert what["passes"] == passes * what["samples"], name


def test_bf16_runs_through_autocast(methods: Found) -> None:
    assert all(what["steps"] > 0 for what in methods("sgd-bf16").values())


def test_a_missing_compiler_is_logged_and_not_used(found: Found, methods: Found) -> None:
    lacks = "torch has no compiler 'hpu_backend' here: passes are computed eagerly"
    assert all(what["messages"] == [lacks] for what in methods(EAGER_SGD).values())
    assert found(EAGER_SGD)["doctor"]["compiler"] == "hpu_backend, not registered in torch"


def test_no_compiler_is_used_in_lazy_mode(found: Found, methods: Found) -> None:
    assert all(what["messages"] == [] for what in methods(LAZY_SAM).values())
    assert "compiler" not in found(LAZY_SAM)["doctor"]


def test_the_doctor_compares_the_card_with_the_cpu(found: Found) -> None:
    facts = found(EAGER_SGD)["doctor"]
    assert facts["mode"] == "eager"
    assert "habana-torch-plugin not installed" in facts["plug-in"]
    assert facts["cards"] == "1 (HABANA_VISIBLE_MODULES=3)"
    assert facts["collectives"] == "hccl"
    losses = [float(word) for word in facts["losses"].replace("(CPU:", "").replace(")", "").split()]
    assert len(losses) == 40
    assert losses[0] == pytest.approx(losses[20], abs=1e-5)
    assert float(facts["difference"].partition(" ")[0]) < 0.01
    assert facts["waits"] == "0 a step, not compiled"
    assert facts["fallbacks"].endswith("with ENABLE_CONSOLE=true LOG_LEVEL_PT_FALLBACK=1 before the command")
    assert found(LAZY_SAM)["doctor"]["mode"].startswith("lazy")


@pytest.mark.parametrize("recipe", [EAGER_SGD, LAZY_SAM])
def test_a_stopped_run_resumes_to_the_bit(recipe: str, found: Found) -> None:
    stopped = found(recipe)["stopped"]
    assert len(stopped) >= 2
    assert [name for name, equal in stopped.items() if not equal] == []


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
def test_the_other_optimizer_of_each_mode_does_all_of_this(lazy: bool) -> None:
    program = run_program(OTHERS[lazy], 1, lazy=lazy)
    [ran], stopped = program["methods"].values(), program["stopped"]
    assert list(ran) == list(stopped) == list(Registry().names("method"))
    assert all(stopped.values())
    for name, what in ran.items():
        assert what["equal"], name
        waits = what["calls"]["host_sync"] - what["epochs"] - what["stages"] - what["kept"]
        assert 0 <= waits <= what["logged"], name
        assert what["calls"]["manual_seed_all"] >= what["stages"], name
        assert ("mark_step" in what["calls"]) == lazy, name

"""From names and settings to runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import plugin

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.seeds import MAX_SEEDS, parse_seeds
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.registry import Registry

GRID = Grid(tasks=("digits",), methods=("warm", "dash"), seeds=(0, 1))


def test_grid_is_every_task_model_method_and_seed_seed_by_seed(registry: Registry) -> None:
    specs = replace(GRID, models=("small_resnet", "mlp_bn")).specs(registry)
    assert [(s.seed, s.model.name, s.method.name) for s in specs] == [
        (seed, model, method)
        for seed in (0, 1)
        for model in ("small_resnet", "mlp_bn")
        for method in ("warm", "dash")
    ]
    assert len({spec.id for spec in specs}) == len(specs)
    assert len({id(spec.task) for spec in specs}) == 2, "runs that differ in method and seed share parts"


def test_setting_applies_to_what_has_it_and_its_prefix_takes_precedence(registry: Registry) -> None:
    settings = {
        "width": "4",
        "stages": "3",
        "momentum": "0.5",
        "dash.momentum": "0.7",
        "digits.batch_size": "16",
    }
    warm, dash = replace(GRID, seeds=(0,), settings=settings).specs(registry)
    assert (warm.model.settings["width"], warm.task.settings["stages"]) == (4, 3)
    assert (warm.recipe["momentum"], warm.recipe["batch_size"]) == (0.5, 16)
    assert (dash.recipe["momentum"], dash.method.settings["momentum"]) == (0.5, 0.7)


def test_settings_take_precedence_over_a_preset(registry: Registry) -> None:
    (low,) = Grid(("digits",), ("dash:dash_2024_low",), seeds=(0,)).specs(registry)
    (set_,) = Grid(("digits",), ("dash:dash_2024_low",), seeds=(0,), settings={"dash.floor": "0.2"}).specs(
        registry
    )
    assert (low.method.settings["floor"], set_.method.settings["floor"]) == (0.05, 0.2)


def test_id_depends_on_all_that_decides_the_numbers_and_nothing_else(registry: Registry) -> None:
    (spec,) = Grid(("digits",), ("warm",), seeds=(0,)).specs(registry)
    others = [
        Grid(("digits",), ("warm",), seeds=(1,)),
        Grid(("digits",), ("dash",), seeds=(0,)),
        Grid(("digits",), ("warm",), models=("mlp_bn",), seeds=(0,)),
        Grid(("digits",), ("warm",), seeds=(0,), settings={"learning_rate": "0.02"}),
        Grid(("digits",), ("warm",), seeds=(0,), settings={"stages": "4"}),
        Grid(("digits",), ("warm",), seeds=(0,), device="cuda"),
    ]
    ids = {other.specs(registry)[0].id for other in others} | {spec.id}
    assert len(ids) == len(others) + 1
    assert spec.id == Grid(("digits",), ("warm",), seeds=(0,), device="cpu:0").specs(registry)[0].id
    assert Spec.from_dict(spec.as_dict()).id == spec.id


def test_task_and_method_are_built_from_a_description(registry: Registry) -> None:
    settings = {"dash.floor": "0.2", "width": "4"}
    (spec,) = Grid(("digits",), ("dash",), seeds=(0,), settings=settings).specs(registry)
    task, method = build(spec, registry)
    assert task.architecture == registry.load("model", "small_resnet")(width=4)
    assert method == registry.load("method", "dash")(floor=0.2)


def test_run_is_refused_if_its_code_has_changed_since(tmp_path: Path) -> None:
    before = Registry((plugin(tmp_path, "mine"),))
    (spec,) = Grid(("digits",), ("mine",), seeds=(0,)).specs(before)
    build(spec, before)
    after = Registry((plugin(tmp_path, "mine", "X = 1"),))
    with pytest.raises(RequestError, match="code of method mine has changed"):
        build(spec, after)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (0, 1, 2)),
        (" 1 ", (0,)),
        ("3,5,7", (3, 5, 7)),
        ("5,", (5,)),
        ("10-12", (10, 11, 12)),
        ("0-1,9", (0, 1, 9)),
    ],
)
def test_seeds_are_a_count_a_list_or_a_range(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@given(st.text(alphabet="0123456789-, x", max_size=12))
def test_seeds_are_whole_numbers_or_an_error(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except RequestError:
        return
    assert 0 < len(seeds) <= MAX_SEEDS
    assert all(seed >= 0 for seed in seeds)


def test_setting_of_a_method_without_its_name_is_refused_with_the_full_name() -> None:
    grid = Grid(tasks=("digits",), methods=("warm", "dash"), settings={"floor": "0.1"})
    with pytest.raises(RequestError, match=r"named 'floor': write dash\.floor$"):
        grid.specs(Registry())

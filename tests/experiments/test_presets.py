"""Variants of a method are called as a user types them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from plastibench.analysis.labels import method_labels
from plastibench.experiments.grid import Grid
from plastibench.experiments.presets import preset_label
from plastibench.experiments.spec import Part
from plastibench.plugins.registry import Registry


def methods(*names: str, **settings: str) -> list[Part]:
    grid = Grid(("digits",), names, settings=settings)
    return [spec.method for spec in grid.specs(Registry()) if spec.seed == 0]


def test_variants_are_called_as_they_are_requested() -> None:
    names = ["shrink_perturb", "shrink_perturb:dash_2024", "dash:permuted", "dash", "warm"]
    assert method_labels(methods(*names)) == names


def test_settings_that_no_preset_has_are_spelled_out() -> None:
    own = methods("shrink_perturb", **{"shrink_perturb.shrink": "0.7"})
    labels = method_labels([*methods("shrink_perturb"), *own])
    assert labels == ["shrink_perturb", "shrink_perturb[shrink=0.7]"]


def test_a_variant_of_other_code_is_not_called_a_preset() -> None:
    shipped = methods("shrink_perturb")[0]
    changed = replace(shipped, code="0123")
    labels = method_labels([shipped, changed])
    assert labels == [f"shrink_perturb[code={shipped.code}]", "shrink_perturb[code=0123]"]


@pytest.mark.parametrize("name", ["warm", "method_of_somebody"])
def test_other_settings_and_unknown_methods_have_no_name(name: str) -> None:
    assert preset_label(Part(name, {"strength": 3}, "code")) is None


def test_a_single_variant_is_called_as_it_was_requested() -> None:
    assert method_labels(methods("shrink_perturb:dash_2024", "warm")) == ["shrink_perturb:dash_2024", "warm"]
    own = methods("shrink_perturb", **{"shrink_perturb.shrink": "0.7"})
    assert method_labels(own) == ["shrink_perturb"]


def test_tables_of_default_settings_do_not_import_torch() -> None:
    program = (
        "import sys; from plastibench.experiments.presets import has_preset_values; "
        "from plastibench.experiments.spec import Part; "
        "settings = {'noise': 0.1, 'source': 'fresh'}; "
        "print(has_preset_values(Part('shrink_perturb', settings, '')), 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]

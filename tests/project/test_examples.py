"""The examples that train run, in a short form."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def main_of(name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main  # type: ignore[no-any-return]


@pytest.mark.heavy
def test_the_loop_of_ones_own_trains_with_every_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = main_of("own_loop")(epochs=4, seeds=1)
    assert list(accuracies) == ["warm", "cold", "shrink_perturb", "dash", "l2_init"]
    assert all(accuracy > 0.85 for accuracy in accuracies.values())
    assert len(set(accuracies.values())) > 1
    assert "shrink_perturb   " in capsys.readouterr().out


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["l2_init", "shrink_perturb"])
def test_the_callback_of_a_trainer_puts_a_remedy_into_it(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("trainer_callback")(method, epochs=3) > 0.8
    assert f"of 4 tensors changed; optimizer state: {'keep' if method == 'l2_init' else 'clear'}" in (
        capsys.readouterr().out
    )


@pytest.mark.heavy
def test_torchvisions_resnet_is_fine_tuned_after_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = main_of("torchvision_finetuning")(epochs=1, count=192)
    assert list(accuracies) == ["warm", "shrink_perturb", "dash", "head_reset"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" of")[0] for line in lines[::2]] == [
        "Warm: 0",
        "ShrinkPerturb: 92",
        "Dash: 17",
        "HeadReset: 2",
    ]

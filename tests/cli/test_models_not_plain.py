"""A model of one's own: what a remedy leaves untouched is named, what it cannot change is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import command

MODEL = '''"""A model of a test."""
from dataclasses import dataclass
import torch
from torch import nn
from plastibench.api import Architecture


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.token = nn.Linear(64, 8), nn.Parameter(torch.randn(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.norm(self.body(x.flatten(1)) + self.token))


@dataclass(frozen=True, kw_only=True)
class Mine(Architecture):
    """A model (arXiv 0000.00000)."""

    def build(self, shape, num_classes, factories):
        return Net()
'''
WEIGHT_NORM = MODEL.replace(
    "return Net()", "net = Net(); nn.utils.parametrizations.weight_norm(net.body); return net"
)


def run(folder: Path, source: str, methods: str) -> tuple[int, str, str]:
    """Run methods on a model of one's own for two short stages."""
    file, home = folder / "mine.py", folder / "home"
    file.write_text(source, encoding="utf-8")
    sets = [w for pair in ("stages=2", "max_epochs=1", "train_size=130") for w in ("--set", pair)]
    words = ("--plugin", file, "--model", "mine", "--method", methods, "--seeds", 2, *sets)
    done = command("run", "--no-mlflow", "--home", home, *words)
    return done.status, done.out, done.err


@pytest.mark.heavy
def test_what_a_remedy_leaves_untouched_is_named_under_the_table(tmp_path: Path) -> None:
    status, out, _ = run(tmp_path, MODEL, "warm,cold,dash,shrink_perturb,shrink_perturb:dash_2024")
    text = " ".join(out.split())
    assert status == 0
    assert "dash leaves 1 of 7 parameters of the model untouched: token" in text
    assert "shrink_perturb:dash_2024 leaves 1 of 7 parameters of the model untouched" in text
    assert text.count("untouched") == 2
    again = " ".join(command("table", "--home", tmp_path / "home").out.split())  # from the index
    assert "dash leaves 1 of 7 parameters of the model untouched: token" in again


@pytest.mark.heavy
def test_a_remedy_for_weights_is_refused_before_any_run_begins(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, WEIGHT_NORM, "dash")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert (
        "method dash cannot run on this task and model: layer 'body' of the model computes its weight" in err
    )
    assert not list((tmp_path / "home").rglob("spec.json"))
    status, out, err = run(tmp_path, WEIGHT_NORM, "warm,cold,dash")
    assert (status, "left out: method dash cannot run" in err, "dash cannot run here: layer" in out) == (
        0,
    ) + (True,) * 2

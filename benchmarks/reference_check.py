"""Compare DASH's shrink factors and the L2-init penalty with the reference code, number by number.

Both codes get the same weights and the same real CIFAR-10 chunks:

    python benchmarks/reference_check.py --reference CHECKOUT --data FOLDER [--edition restored]

Nothing of the reference code is part of this project: its functions are imported from the checkout.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.devices import Cpu, get_device
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext
from plastibench.training.learner import Learner

TOLERANCE = 1e-5


def reference(path: Path) -> Any:
    """Import the reference's training functions; it logs to wandb, which is not needed here."""
    sys.modules.setdefault("wandb", types.ModuleType("wandb"))
    sys.path.insert(0, str(path))
    # In this order: its packages import each other.
    importlib.import_module("models")
    return importlib.import_module("utils.train_utils")


def prepared(options: argparse.Namespace) -> Learner:
    """Return a learner before its third stage, trained a little, so that no weight is at its start."""
    registry = Registry()
    architecture = registry.load("model", options.model)()
    kind = registry.load("task", "cifar10")
    recipe = replace(kind.recipes(architecture)["standard"], max_epochs=1)
    task = kind(recipe=recipe, architecture=architecture, edition=options.edition)
    learner = Learner(task, registry.load("method", "warm")(), 0, get_device("cpu"))
    stages = task.stream(0, DataContext(get_device("cpu"), options.data, options.data))
    first = next(stages)
    learner.begin_stage(first)
    for x, y in first.train.batches(128):
        learner.optimizer.zero_grad()
        learner.loss(learner.model(x), y).backward()
        learner.optimizer.step()
    next(stages)
    learner.begin_stage(next(stages))
    return learner


class WholeChunks(Cpu):
    """The CPU without a limit on what a pass keeps: chunks are not cut, as in the reference."""

    activation_memory = 2**60


def compare_dash(theirs: Any, learner: Learner, mode: str) -> Tensor:
    """Return the difference of each weight's factor between the two codes."""
    before = copy.deepcopy(learner.model)
    arguments = types.SimpleNamespace(device="cpu", dash_alpha=0.3, dash_lambda=0.3)
    # The same layout for both: another one adds in another order, and a cosine with a gradient that is
    # nearly zero magnifies the rounding.
    layout = learner.device.memory_format(before)
    chunks = [(x.contiguous(memory_format=layout), y) for x, y in learner.stage.train.batches(1000)]
    model = copy.deepcopy(before).train(mode == "train")
    shrunk = theirs.dash(arguments, model, nn.CrossEntropyLoss(), chunks)
    kind = Registry().load("method", "dash")
    learner.model = copy.deepcopy(before)
    with torch.no_grad():
        kind(gradient_mode=mode).before_stage(learner)
    differences = []
    for old, ours, other in zip(
        before.parameters(), learner.model.parameters(), shrunk.parameters(), strict=True
    ):
        sure = old.abs() > 1e-6
        difference = (ours[sure] / old[sure] - other[sure] / old[sure]).abs()
        differences.append(difference.detach())
    learner.model = before
    return torch.cat(differences)


def compare_l2_init(theirs: Any, learner: Learner) -> float:
    """Return the relative difference of the penalty in the reference's form."""
    kind = Registry().load("method", "l2_init")
    method = kind(**kind.presets["dash_2024"])
    trained = learner.model
    learner.model = first = learner.fresh_model()
    with torch.no_grad():
        method.start(learner)
    learner.model = trained
    arguments = types.SimpleNamespace(train_type="l2_init", l2_init_lambda=method.strength)
    expected = float(theirs.l2_init(arguments, trained, first, torch.zeros(())).detach())
    ours = float(method.loss_term(learner, torch.zeros(1), torch.zeros(1)).detach())
    return abs(ours - expected) / expected


def main() -> None:
    """Print each comparison; exit with status 1 where one is above the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--edition", default="official")
    parser.add_argument("--model", default="resnet18")
    options = parser.parse_args()
    theirs = reference(options.reference.resolve())
    learner = prepared(options)
    parts = compare_dash(theirs, learner, "eval")
    learner.device = WholeChunks()
    found = {
        f"DASH factors, {mode} mode": float(compare_dash(theirs, learner, mode).max())
        for mode in ("eval", "train")
    }
    found["L2-init penalty, square of a sum of norms (relative)"] = compare_l2_init(theirs, learner)
    for what, difference in found.items():
        print(f"{what}: largest difference {difference:.2e}, allowed {TOLERANCE:.0e}")
    larger = int((parts > TOLERANCE).sum())
    print(
        f"DASH factors, eval mode, chunks cut to {Cpu.activation_memory / 2**20:.0f} MiB: largest difference "
        f"{float(parts.max()):.2e}, more than {TOLERANCE:.0e} for {larger:,} of {len(parts):,} weights"
    )
    sys.exit(any(difference > TOLERANCE for difference in found.values()))


if __name__ == "__main__":
    main()

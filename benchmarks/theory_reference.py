"""Compare the feature-learning framework with the DASH authors' notebook, count by count.

Both get the same settings and seeds; the notebook takes about 20 seconds for 10 stages of a seed:

    python benchmarks/theory_reference.py --reference CHECKOUT [--seeds 2] [--set stages=10]...

Nothing of the notebook is part of this project: its cells are read from the checkout and executed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import bernoulli

from plastibench.experiments.seeds import parse_seeds
from plastibench.theory.experiment import Curves, FeatureLearning, simulate
from plastibench.theory.framework import Initialization

NOTEBOOK = "Discrete_Feature_Learning.ipynb"
THEIRS = {Initialization.COLD: 0, Initialization.WARM: 1, Initialization.IDEAL: 2}
"""Position of each initialization in the notebook's arrays."""
DEVIATIONS = 5
"""Standard deviations by which an accuracy may differ: the notebook draws its guesses, ours is expected."""


def run_notebook(path: Path, settings: FeatureLearning, num_seeds: int) -> dict[str, Any]:
    """Return the notebook's variables after all cells but its imports and its figure."""
    variables: dict[str, Any] = {
        "np": np,
        "bernoulli": bernoulli,
        "tqdm": SimpleNamespace(tqdm=lambda rounds: rounds),
    }
    ours = {
        "N": settings.chunk_size,
        "J": settings.stages,
        "numfeat": settings.features,
        "C": settings.classes,
        "gamma": settings.gamma,
        "tau": settings.tau,
        "total_seed": num_seeds,
    }
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] != "code" or code.startswith("import ") or "plt." in code:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, variables)
        if ours.keys() <= variables.keys():
            variables |= ours  # after the cell that sets the notebook's own
    return variables


def differences(curves: Curves, theirs: dict[str, Any], place: int) -> dict[str, tuple[float, float]]:
    """Return the largest difference of each quantity, and what is allowed."""
    learned = theirs["Learn_F"][..., place].sum(axis=(2, 3))
    accuracy = 100 * theirs["test_acc"][..., place]
    guess, size = 1 / theirs["C"], 10_000  # the notebook's test points
    unknown = np.maximum(0, 1 - curves.accuracy / 100) / (1 - guess)
    deviation = 100 * np.sqrt(unknown * guess * (1 - guess) / size)
    return {
        "learned features": (float(np.abs(curves.features - learned).max()), 0.0),
        "points with a gradient": (float(np.abs(curves.active - theirs["Nzero_X"][..., place]).max()), 0.0),
        "accuracy, in standard deviations of the guesses": (
            float((np.abs(curves.accuracy - accuracy) / np.maximum(deviation, 1e-9)).max()),
            DEVIATIONS,
        ),
    }


def main() -> None:
    """Print each comparison; exit with status 1 if one is above what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--seeds", default="1", help="how many; the notebook begins with seed 0")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    texts = dict(text.split("=", 1) for text in options.settings)
    settings = FeatureLearning().from_strings(texts)
    seeds = parse_seeds(options.seeds)
    theirs = run_notebook(options.reference / NOTEBOOK, settings, len(seeds))
    failed = False
    for start, curves in simulate(settings, seeds).items():
        for what, (found, allowed) in differences(curves, theirs, THEIRS[start]).items():
            print(f"{start.label}, {what}: largest difference {found:.3g}, allowed {allowed:g}")
            failed |= found > allowed
    sys.exit(failed)


if __name__ == "__main__":
    main()

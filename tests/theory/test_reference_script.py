"""The script that compares with the authors' notebook, on a notebook that assigns what that one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[2]
SETTINGS = "N = 1000; J = 50; C = 2; numfeat = 50\ntotal_seed = 10\ngamma = 50; tau = 3"
RESULTS = """
from plastibench.theory.experiment import FeatureLearning, simulate
chosen = FeatureLearning(chunk_size=N, stages=J, features=numfeat, classes=C, gamma=gamma, tau=tau)
found = list(simulate(chosen, range(total_seed)).values())
Nzero_X = np.stack([each.active for each in found], axis=-1)
test_acc = np.stack([each.accuracy / 100 for each in found], axis=-1)
Learn_F = np.zeros((total_seed, J, C, numfeat, 3))
for place, each in enumerate(found):
    for index, count in np.ndenumerate(each.features):
        Learn_F[(*index, 0, slice(count), place)] = 1
for seed in tqdm.tqdm(range(total_seed)):
    print("a line of the notebook")
"""


def compare(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Compare with a notebook whose last cell also has these lines."""
    cells = ["import seaborn_that_nobody_has", SETTINGS, "\n".join([RESULTS, *lines]), "plt.show()"]
    notebook = {"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]}
    (folder / "Discrete_Feature_Learning.ipynb").write_text(json.dumps(notebook))
    words = ["--reference", str(folder), "--seeds", "2", "--set", "stages=2", "--set", "features=80"]
    script = str(ROOT / "benchmarks/theory_reference.py")
    return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)


def test_equal_counts_pass(tmp_path: Path) -> None:
    done = compare(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("largest difference 0, allowed 0") == 6


@pytest.mark.parametrize(
    ("line", "what"),
    [
        pytest.param("Learn_F[1, 1, 1, -1, 2] = 1", "ideal, learned features", marks=pytest.mark.slow),
        pytest.param("Nzero_X[0, 1, 1] += 1", "warm, points with a gradient", marks=pytest.mark.slow),
        ("test_acc[0, 0, 0] += 0.1", "cold, accuracy"),
    ],
)
def test_one_count_that_differs_is_found(tmp_path: Path, line: str, what: str) -> None:
    done = compare(tmp_path, line)
    assert done.returncode == 1
    (found,) = [text for text in done.stdout.splitlines() if text.startswith(what)]
    assert "difference 0," not in found

"""What tuning takes beside training: a real study, by its own clocks, with the mirror and without.

    python benchmarks/tuning_overhead.py [TRIALS]

The runs are those of the quick start's task, carried out one after the other. What is counted as overhead is
everything between the first trial and the last but the runs: proposals, the journal, pruning, waiting.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

QUICK = ("--task", "digits", "--set", "stages=10")
SUMMARY = re.compile(r"([\d.]+) s, ([\d.]+) s of them in runs")


def main(trials: int = 8) -> None:
    for word in ("--no-mlflow", "--mlflow"):
        with tempfile.TemporaryDirectory() as folder:
            whole, runs = _tune(Path(folder), trials, word)
        share = 100 * (whole / runs - 1)
        print(f"{word}: {trials} trials, {whole:.1f} s, of them {runs:.1f} s in runs: {share:.2f} % more")


def _tune(home: Path, trials: int, *words: str) -> tuple[float, float]:
    """Return the seconds of a study, and those of its runs."""
    study = (*QUICK, "--method", "shrink_perturb", "--seeds-per-trial", "1", "--no-pruning")
    command = [sys.executable, "-m", "plastibench", "tune", *study, "--trials", str(trials)]
    done = subprocess.run([*command, "--home", str(home), *words], check=True, capture_output=True, text=True)
    summary = SUMMARY.search(done.stderr)
    assert summary is not None, done.stderr
    return float(summary[1]), float(summary[2])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

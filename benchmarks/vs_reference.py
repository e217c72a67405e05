"""Run the DASH reference code and plastibench on the same data, and compare accuracy and steps.

    python benchmarks/vs_reference.py --reference CHECKOUT --data FOLDER --home HOME
    python benchmarks/vs_reference.py ... --methods cold --stages 1 --seeds 30

Both train ResNet-18 with SGD through the first stages of 50 on real CIFAR-10. The two codes draw different
random numbers, so only means over seeds can be compared: the table shows the 95 % interval of the difference
(Welch) and the p of two one-sided Welch tests (TOST) that it lies within +- 0.75 points of accuracy, or 5 %
of the reference's steps. In the first stage no method has acted yet: it is shared by all of them. Finished
runs in HOME are not repeated, so the command can be run again after an interruption; `--only reference` and
`--only ours` run one side alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

from scipy import stats

METHODS = {"cold": "cold", "warm": "warm", "sp": "shrink_perturb:dash_2024", "dash": "dash"}
"""The reference's name of each method, and ours."""
FIRST_SEED = 2021
MARGIN_POINTS = 0.75
MARGIN_STEPS = 0.05
"""Share of the reference's mean number of steps."""
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Point:
    """One stage of one run."""

    method: str
    seed: int
    stage: int
    accuracy: float
    steps: int


def reference_points(path: Path) -> list[Point]:
    """Return what the reference code has finished; a line that was cut off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found.append(Point(row["method"], row["seed"], row["stage"], row["test_accuracy"], row["steps"]))
    return list({(p.method, p.seed, p.stage): p for p in found}.values())


def our_points(home: Path) -> Iterator[Point]:
    """Yield what plastibench has finished."""
    from plastibench.store.run_store import Store

    names = {ours.partition(":")[0]: theirs for theirs, ours in METHODS.items()}
    for record in Store(home).records():
        for row in record.stages:
            name = names[record.spec.method.name]
            yield Point(name, record.spec.seed, row["index"], row["test_accuracy"], row["steps"])


def run_reference(options: argparse.Namespace, path: Path) -> None:
    """Run the reference for the seeds that lack a method, one process a seed, `jobs` at a time."""
    done = {(p.method, p.seed) for p in reference_points(path) if p.stage == options.stages - 1}
    waiting = []
    for seed in seeds(options):
        missing = [method for method in options.methods if (method, seed) not in done]
        if missing:
            words = [sys.executable, str(HERE / "reference_run.py"), "--methods", ",".join(missing)]
            words += ["--reference", str(options.reference), "--data", str(options.data), "--out", str(path)]
            words += ["--seed", str(seed), "--stages", str(options.stages)]
            words += ["--md5", str(options.md5)] if options.md5 else []
            waiting.append([*words, "--model", "resnet18", "--optimizer_type", "sgd"])
    while waiting:
        going = [subprocess.Popen(words) for words in waiting[: options.jobs]]
        waiting = waiting[options.jobs :]
        if any(process.wait() for process in going):
            sys.exit("the reference code failed: see above")


def run_ours(options: argparse.Namespace) -> None:
    """Run plastibench through its command line, counting accuracies as the reference does."""
    settings = [f"max_stages={options.stages}", f"edition={options.edition}"]
    settings += ["train_accuracy=batches", "test_accuracy=batches"]
    words = [sys.executable, "-m", "plastibench", "run", "--task", "cifar10", "--model", "resnet18"]
    words += [
        "--method",
        ",".join(METHODS[name] for name in options.methods),
        "--seeds",
        f"{FIRST_SEED}-{seeds(options)[-1]}",
    ]
    words += ["--device", options.device, "--data", str(options.data), "--home", str(options.home)]
    words += ["--jobs", str(options.jobs), "--no-mlflow"]
    subprocess.run([*words, *(part for text in settings for part in ("--set", text))], check=True)


def seeds(options: argparse.Namespace) -> range:
    """Return the seeds of both codes."""
    return range(FIRST_SEED, FIRST_SEED + options.seeds)


def compare(theirs: list[Point], ours: list[Point]) -> Iterator[str]:
    """Yield the lines of the table."""
    head = ("method", "stage", "", "reference", "plastibench", "difference, 95 % interval", "TOST p")
    yield "{:<7}{:>6} {:<6}{:>22}{:>22}{:>30}{:>10}".format(*head)
    groups = [
        ("all", 0),
        *((name, stage) for name in METHODS for stage in sorted({p.stage for p in theirs} - {0})),
    ]
    for method, stage in groups:
        a, b = (list(by_seed(points, method, stage).values()) for points in (theirs, ours))
        if not a:
            continue
        accuracies = [[100 * p.accuracy for p in points] for points in (a, b)]
        steps = [[float(p.steps) for p in points] for points in (a, b)]
        margins = MARGIN_POINTS, MARGIN_STEPS * sum(steps[0]) / len(steps[0])
        for name, (x, y), margin in zip(("acc", "steps"), (accuracies, steps), margins, strict=True):
            yield f"{method:<7}{stage + 1:>6} {name:<6}{text(x):>22}{text(y):>22}{line(x, y, margin)}"


def by_seed(points: list[Point], method: str, stage: int) -> dict[int, Point]:
    """Return the points of a method at a stage; "all" stands for any method."""
    return {p.seed: p for p in points if p.stage == stage and method in (p.method, "all")}


def line(a: list[float], b: list[float], margin: float) -> str:
    """Return the difference with its Welch interval and the p of equivalence, if there are enough runs."""
    if min(len(a), len(b)) < 2 or len({*a, *b}) < 2:
        return ""
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    difference = f"{sum(b) / len(b) - sum(a) / len(a):+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
    return f"{difference:>30}{equivalence(a, b, margin):>10.4f}"


def equivalence(a: list[float], b: list[float], margin: float) -> float:
    """Return the p of two one-sided Welch t tests that the means differ by less than `margin`."""
    lower = stats.ttest_ind([y + margin for y in b], a, equal_var=False, alternative="greater").pvalue
    upper = stats.ttest_ind([y - margin for y in b], a, equal_var=False, alternative="less").pvalue
    return float(max(lower, upper))


def text(values: list[float]) -> str:
    """Return mean +- standard deviation (n)."""
    if not values:
        return "-"
    mean = sum(values) / len(values)
    spread = f" +- {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean:.2f}{spread} ({len(values)})"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="checkout of the reference code")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument(
        "--md5", type=Path, help="md5sum list of CIFAR-10 files that the reference should accept"
    )
    parser.add_argument("--edition", default="official", help="of CIFAR-10, for plastibench")
    parser.add_argument("--home", type=Path, required=True, help="folder for the results of both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--methods", type=lambda names: names.split(","), default=list(METHODS))
    parser.add_argument(
        "--device", default="cpu", help="of plastibench; the reference takes a GPU if there is one"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=["reference", "ours", "table"])
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    path = options.home / "reference.jsonl"
    if options.only in (None, "reference"):
        run_reference(options, path)
    if options.only in (None, "ours"):
        run_ours(options)
    print("\n".join(compare(reference_points(path), list(our_points(options.home)))))


if __name__ == "__main__":
    main()

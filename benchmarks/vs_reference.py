"""Run the DASH reference code and plastibench on the same data, and lay accuracy and steps side by side.

    python benchmarks/vs_reference.py --reference CHECKOUT --data FOLDER --home HOME

Both train ResNet-18 with SGD through the first stages of 50 on real CIFAR-10. The two codes draw other random
numbers, so what can be compared is the mean over seeds: the table says whether the 95 % interval of the
difference (Welch) holds zero. What is finished in HOME is not run again, so the command can be given
again after an interruption; `--only reference` and `--only ours` run one side alone.
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
        missing = [method for method in METHODS if (method, seed) not in done]
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
    words += ["--method", ",".join(METHODS.values()), "--seeds", f"{FIRST_SEED}-{seeds(options)[-1]}"]
    words += ["--device", options.device, "--data", str(options.data), "--home", str(options.home)]
    words += ["--jobs", str(options.jobs), "--no-mlflow"]
    subprocess.run([*words, *(part for text in settings for part in ("--set", text))], check=True)


def seeds(options: argparse.Namespace) -> range:
    """Return the seeds of both codes."""
    return range(FIRST_SEED, FIRST_SEED + options.seeds)


def compare(theirs: list[Point], ours: list[Point]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'method':<7}{'stage':>6}{'reference':>26}{'plastibench':>22}{'difference, 95 % interval':>40}"
    for method in METHODS:
        for stage in sorted({point.stage for point in theirs if point.method == method}):
            a, b = (
                [p for p in points if (p.method, p.stage) == (method, stage)] for points in (theirs, ours)
            )
            start = f"{method:<7}{stage + 1:>6}"
            yield f"{start}{'acc':>5}{line([100 * p.accuracy for p in a], [100 * p.accuracy for p in b])}"
            yield f"{start}{'steps':>5}{line([float(p.steps) for p in a], [float(p.steps) for p in b])}"


def line(a: list[float], b: list[float]) -> str:
    """Return means with spreads, and the difference with its Welch interval, where n allows it."""
    difference = ""
    if len(a) > 1 and len(b) > 1 and len({*a, *b}) > 1:
        interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
        verdict = "holds 0" if interval.low <= 0 <= interval.high else "does not hold 0"
        difference = (
            f"{sum(b) / len(b) - sum(a) / len(a):+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] {verdict}"
        )
    return f"{text(a):>21}{text(b):>22}{difference:>40}"


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

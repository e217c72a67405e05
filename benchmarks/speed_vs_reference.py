"""Time one stage of the DASH reference code and of plastibench in turn, and print the ratio of their seconds.

    python benchmarks/speed_vs_reference.py --reference CHECKOUT --data FOLDER --out ROWS.jsonl

Both train ResNet-18 with SGD on the same 2,000 images of CIFAR-10 for the same number of epochs and
then test on 10,000, each in a process of its own, one after the other, repeat after repeat. A stage's
seconds go from the end of the imports to the result: reading the data counts, starting Python does not.
The reference runs as its README says, with what it chooses itself (one thread on a CPU). Rows are
appended to --out, so that repeats can be made in several commands; the table is over all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
THEIRS = "reference"
STAGES = 25
"""Of 50,000 images: a stage has 2,000."""


def reference(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run one stage of the reference code; return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        words = [sys.executable, str(HERE / "reference_run.py"), "--methods", "warm", "--stages", "1"]
        words += ["--reference", str(options.reference), "--data", str(options.data), "--out", str(out)]
        words += ["--md5", str(options.md5)] if options.md5 else []
        words += ["--seed", str(seed), "--model", "resnet18", "--optimizer_type", "sgd"]
        words += ["--num_chunks", str(STAGES), "--max_epoch", str(options.epochs)]
        subprocess.run(words, check=True, stdout=sys.stderr)
        row = json.loads(out.read_text(encoding="utf-8"))
    return {"code": THEIRS, "seed": seed, "epochs": row["epochs"], "seconds": row["stage_seconds"]}


def ours(options: argparse.Namespace, seed: int, precision: str) -> dict[str, Any]:
    """Run the same stage with plastibench through its command line; return what it took."""
    from plastibench.store.run_store import Store

    settings = [f"stages={STAGES}", "max_stages=1", f"max_epochs={options.epochs}"]
    settings += [f"precision={precision}", f"edition={options.edition}"]
    with tempfile.TemporaryDirectory() as home:
        words = [sys.executable, "-m", "plastibench", "run", "--task", "cifar10", "--model", "resnet18"]
        words += ["--method", "warm", "--seeds", f"{seed}-{seed}", "--device", options.device]
        words += ["--data", str(options.data), "--home", home, "--jobs", "1", "--no-mlflow"]
        words += [part for text in settings for part in ("--set", text)]
        subprocess.run(words, check=True, stdout=sys.stderr)
        (record,) = Store(Path(home)).records()
    (stage,) = record.stages
    seconds = {name: stage[f"{name}_seconds"] for name in ("train", "evaluation")}
    whole = {"epochs": stage["epochs"], "seconds": record.provenance["seconds"], "parts": seconds}
    return {"code": precision, "seed": seed, **whole, "device": record.provenance["device"]}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines: seconds of each code, and how many times faster than the reference, by pairs.

    Rows of another number of epochs than the last one's are left out.
    """
    rows = [row for row in rows if row["epochs"] == rows[-1]["epochs"]]
    seconds = {(row["code"], row["seed"]): row["seconds"] for row in rows}
    yield f"one stage of 2,000 images, {rows[-1]['epochs']} epochs, seconds: median (smallest to largest)"
    for code in dict.fromkeys(row["code"] for row in rows):
        own = {seed: value for (name, seed), value in seconds.items() if name == code}
        ratios = [seconds[THEIRS, seed] / own[seed] for seed in own if (THEIRS, seed) in seconds]
        faster = "" if code == THEIRS else f"; {spread(ratios, 2)} times as fast"
        yield f"{code}: {spread(list(own.values()), 1)}, n = {len(own)}{faster}"


def spread(values: list[float], digits: int) -> str:
    """Return the median with the smallest and the largest."""
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Time both codes in turn and print the table over all rows in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="checkout of the reference code")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--md5", type=Path, help="md5sum list of CIFAR-10 files the reference should accept")
    parser.add_argument("--edition", default="official", help="of CIFAR-10, for plastibench")
    parser.add_argument("--device", default="cpu", help="of plastibench; the reference takes a GPU it sees")
    parser.add_argument("--precision", default="fp32,bf16", help="of plastibench, one after the other")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="0 only prints the table")
    parser.add_argument("--out", type=Path, required=True, help="rows are appended to this file")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.open()] if options.out.exists() else []
    first = 1 + max((row["seed"] for row in rows), default=0)
    for seed in range(first, first + options.repeats):
        made = [reference(options, seed)]
        made += [ours(options, seed, precision) for precision in options.precision.split(",")]
        rows += made
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)
    print("\n".join(table(rows)) if rows else f"no rows in {options.out}")


if __name__ == "__main__":
    main()

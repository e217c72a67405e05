"""The table of what `gpu.py` measured: the rows with a goal first, then all that stands behind them.

    python benchmarks/gpu_table.py results.jsonl ...

prints the tables of files of measurements, one for each card.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
WAITS = "waits"
ISSUED = "runs whose steps one interpreter could launch"
"""A step's time by that in which Python launches it: streams of one process would share the latter."""


def text(rows: Sequence[Row], where: Row) -> str:
    """Return the table as Markdown."""
    done = {row["key"]: row for row in rows if "failed" not in row}
    quick = ", **small sizes: these are no measurements**" if where["quick"] else ""
    lines = [f"# Speed on {where['hardware']}{quick}", ""]
    lines += _table(("what", "at least", "measured", "n"), _goals(done))
    lines += ["", "## One run", ""]
    head = ("optimizer", "precision", "way", "train images/s", "share of peak", "test images/s", ISSUED)
    lines += _table(head, _speeds(done))
    lines += ["", "## Runs side by side", ""]
    lines += _table(("way", "runs", "images/s in all", "each"), _together(done))
    lines += ["", "## Captured steps against eager ones", ""]
    lines += _table(("method", "optimizer", "same bits", "largest difference of a weight"), _equal(done))
    failed = {row["key"]: row["failed"] for row in rows if "failed" in row and row["key"] not in done}
    lines += ["", *(f"- {key} failed: {reason}" for key, reason in failed.items())]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _goals(done: dict[str, Row]) -> Iterator[Sequence[str]]:
    precision = _fastest_precision(done)
    yield (
        f"training throughput of one run, batch 128, {precision}",
        "100,000 images/s (H100), 120,000 (H200)",
        *_spread(done.get(f"speed/sgd/{precision}/compiled", {}).get("images_per_second", [])),
    )
    packed = [row["images_per_second"] for row in _with(done, "together/")]
    yield "the same with runs packed", "200,000 images/s (H100), 250,000 (H200)", *_spread(packed, max)
    for ours in ("bf16", "tf32", "fp32"):
        what = f"first 5 of 50 stages against the reference code, {ours}"
        yield f"{what}, whole program", "10x", *_ratios(done, ours, _program_seconds)
        yield f"{what}, stages alone", "20x", *_ratios(done, ours, _stage_seconds)
    yield "7 remedies x 50 stages of CIFAR-10, ResNet-18, SGD", "one seed in 30 minutes", *_column(done)


def _fastest_precision(done: dict[str, Row]) -> str:
    return "bf16" if any("/bf16/" in key for key in done) else "fp32"


def _spread(
    values: Sequence[float], middle: Callable[[Sequence[float]], float] = statistics.median
) -> Sequence[str]:
    if not values:
        return WAITS, "0"
    return f"{middle(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})", str(len(values))


def _program_seconds(row: Row) -> float:
    """Return the seconds of a program from its start to its end."""
    return float(row["seconds"])


def _stage_seconds(row: Row) -> float:
    """Return the seconds of training and evaluation; the reference code's rows are one for each stage."""
    if "stages" in row:
        return sum(float(json.loads(stage)["stage_seconds"]) for stage in row["stages"])
    return float(row["train_seconds"] + row["evaluation_seconds"])


def _ratios(done: dict[str, Row], precision: str, seconds: Callable[[Row], float]) -> Sequence[str]:
    ours, theirs = (
        {row["key"].rpartition("/")[2]: seconds(row) for row in _with(done, f"staged/{name}/")}
        for name in (precision, "reference")
    )
    ratios = [theirs[repeat] / ours[repeat] for repeat in ours if repeat in theirs]
    if not ratios:
        alone = f" ({statistics.median(ours.values()):.1f} s ours)" if ours else ""
        return WAITS + alone, "0"
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})", str(len(ratios))


def _column(done: dict[str, Row]) -> Sequence[str]:
    clocks, runs = _with(done, "clock/"), len(_with(done, "column/"))
    if not clocks:
        return WAITS, "0"
    minutes = sum(row["seconds"] for row in clocks) / 60
    return f"{minutes:.1f} minutes for {runs} runs", str(runs)


def _with(done: dict[str, Row], start: str) -> list[Row]:
    return [row for key, row in done.items() if key.startswith(start)]


def _speeds(done: dict[str, Row]) -> Iterator[Sequence[str]]:
    for row in _with(done, "speed/"):
        _, optimizer, precision, way = row["key"].split("/")
        rate, share = _spread(row["images_per_second"])[0], f"{100 * row['utilization']:.0f} %"
        issued = f"{row['runs_issued']:.1f}" if "runs_issued" in row else ""
        yield optimizer, precision, way, rate, share, f"{row['evaluation_images_per_second']:,.0f}", issued


def _together(done: dict[str, Row]) -> Iterator[Sequence[str]]:
    for row in _with(done, "together/"):
        each = _spread([run["images_per_second"] for run in row["per_run"]])[0]
        yield row["key"].split("/")[1], str(row["num_runs"]), f"{row['images_per_second']:,.0f}", each


def _equal(done: dict[str, Row]) -> Iterator[Sequence[str]]:
    for row in _with(done, "equal/"):
        _, method, optimizer = row["key"].split("/")
        if "unsupported" in row:
            yield method, optimizer, "-", row["unsupported"]
            continue
        yield method, optimizer, "yes" if row["same_bits"] else "no", f"{row['largest_difference']:.2g}"


def main() -> None:
    """Print the tables of the files that are named."""
    texts = []
    for path in map(Path, sys.argv[1:]):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        where = {name: rows[0][name] for name in ("hardware", "quick")}
        texts.append(text(rows, where))
    print("\n".join(texts), end="")


if __name__ == "__main__":
    main()

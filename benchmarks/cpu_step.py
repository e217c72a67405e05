"""Time training steps on the CPU with and without what makes them fast, side by side.

    python benchmarks/cpu_step.py --precision bf16 --threads 2

Each way is a process of its own; they are taken in turn, repeat after repeat. `plain` is the C library's
own memory and torch's convolutions of 4x4 pixels onto 2x2; `held` keeps freed memory; `gathered`, which is
what runs do, also takes wide bf16 convolutions apart. ResNet-18 with SGD on random images.
Seconds of the processor (all threads, with the system's) stand beside the clock's: on a busy machine they
still mean something, with one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from time import perf_counter, process_time
from typing import Any

WAYS = ("plain", "held", "gathered")


def measured(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Return milliseconds a step and page faults a step, in this process."""
    import torch

    from plastibench.devices import Cpu, Device
    from plastibench.models.resnet18 import ResNet18
    from plastibench.plugins.recipe import Recipe
    from plastibench.profiling import throughput

    class Held(Cpu):
        small_convolution = "matmul"

    class Plain(Held):
        prepare_model = Device.prepare_model

    torch.set_num_threads(options.threads)
    recipe = Recipe(precision=options.precision, batch_size=options.batch_size)
    task = throughput.random_images(ResNet18(), recipe, recipe.batch_size * options.steps)
    engine = throughput.make_train_step(task, {"plain": Plain, "held": Held, "gathered": Cpu}[way]())
    for _ in range(2):
        throughput.train_epoch(engine)
    faults, used, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, process_time(), perf_counter()
    throughput.train_epoch(engine)
    clock, used = perf_counter() - begun, process_time() - used
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {
        "clock": 1000 * clock / options.steps,
        "processor": 1000 * used / options.steps,
        "faults": faults / options.steps,
    }


def line(way: str, rows: list[dict[str, Any]]) -> str:
    """Return a way's medians and how they compare with the plain way of the same repeat."""

    def of(name: str) -> str:
        own = [row[way][name] for row in rows]
        ratio = statistics.median(row["plain"][name] / row[way][name] for row in rows)
        return f"{statistics.median(own):.0f} ({min(own):.0f} to {max(own):.0f}), {ratio:.2f}x"

    faults = statistics.median(row[way]["faults"] for row in rows)
    times = f"clock {of('clock')}; processor {of('processor')} ms a step"
    return f"{way:<9} {times}; {faults:,.0f} page faults a step"


def main() -> None:
    """Measure every way in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help="measure this one in this process and print JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options)))
        return
    words = [sys.executable, __file__, *sys.argv[1:]]
    rows = []
    for _ in range(options.repeats):
        done = {way: subprocess.check_output([*words, "--way", way]) for way in WAYS}
        rows.append({way: json.loads(out) for way, out in done.items()})
    print(f"{options.precision}, threads: {options.threads}, n = {len(rows)}: median (smallest to largest)")
    for way in WAYS:
        print(line(way, rows))


if __name__ == "__main__":
    main()

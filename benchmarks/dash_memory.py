"""Measure the peak memory that a method's work between stages adds to that of training, on the CPU.

    python benchmarks/dash_memory.py --model resnet18 --repeats 3

Each repeat is two processes of its own, since a process never gives its peak back: one trains, the other
also lets the method act between its two stages. Random images of CIFAR-10's size; the chunks arrive as
there, 1000 at a time. `--limit` sets the device's limit of kept activations in MiB, and 0 lifts it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

WAYS = ("train", "method")


def peak(way: str, options: argparse.Namespace) -> float:
    """Return the peak resident memory of this process in MiB, after two stages."""
    import torch

    from plastibench.devices import Cpu
    from plastibench.plugins.method import Method
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.registry import Registry
    from plastibench.profiling import throughput
    from plastibench.testing.run_trace import data_context
    from plastibench.training.learner import Learner
    from plastibench.training.step import TrainStep

    class Limited(Cpu):
        activation_memory = Cpu.activation_memory if options.limit is None else options.limit * 2**20 or 2**60

    torch.set_num_threads(options.threads)
    registry = Registry()
    model = registry.load("model", options.model)()
    method = registry.load("method", options.method)() if way == "method" else Method()
    task = throughput.random_images(model, Recipe(batch_size=128), 2 * options.chunk)
    learner = Learner(task, method, 0, Limited())
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    step, batches = TrainStep(learner, method), learner.stage.train.batches(128)
    for _ in range(4):
        step(*next(batches))
    with torch.no_grad():
        method.before_stage(learner)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the peaks and their difference, the median and the range of all repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--method", default="dash")
    parser.add_argument("--chunk", type=int, default=1000, help="images in a chunk")
    parser.add_argument("--limit", type=int, help="MiB of kept activations; default: the device's; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help="measure this one in this process and print MiB")
    options = parser.parse_args()
    if options.way:
        print(peak(options.way, options))
        return
    rows = []
    for _ in range(options.repeats):
        run = [sys.executable, __file__, *sys.argv[1:], "--way"]
        rows.append([float(subprocess.check_output([*run, way], text=True)) for way in WAYS])
    for name, own in zip(WAYS, zip(*rows, strict=True), strict=True):
        print(f"{name:<8} {statistics.median(own):,.0f} MiB ({min(own):,.0f} to {max(own):,.0f})")
    added = [method - train for train, method in rows]
    print(
        f"added    {statistics.median(added):,.0f} MiB ({min(added):,.0f} to {max(added):,.0f}), "
        f"n = {len(added)}"
    )


if __name__ == "__main__":
    main()

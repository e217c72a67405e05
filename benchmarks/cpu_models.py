"""How near models come to the rate of matrix products on the CPU, what bounds them, and their memory.

    python benchmarks/cpu_models.py --threads 1

Prints Markdown tables. Each model in each precision is a process of its own: training steps on random
images, in epochs that take turns with a plain matrix product of the same precision, then an evaluation, then
more steps under torch's profiler. The share is that of the product's rate which the model's own products and
convolutions (counted, forward and backward) reach in the time of whole steps. With one thread the seconds are
those of the processor, which mean something on a busy machine, too; on an idle one they are the clock's.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from plastibench.training.step import TrainStep

MODELS = ("resnet18", "vgg16_bn", "small_resnet", "mlp_bn", "vit")
KINDS = {
    "matrix products, convolutions": r"aten::.*(convolution|mm|matmul|linear|bmm|dot)(_backward|_out)?\w*",
    "normalization": r"aten::.*(batch|layer|group)_?norm\w*",
    "casts and copies": r"aten::(_?to(_copy)?|copy_|_foreach_copy_|clone|contiguous|stack|cat|index|flip)",
    "dispatch": r"aten::(empty\w*|view|_unsafe_view|as_strided|detach_?|t|transpose|permute|expand(_as)?|"
    r"select|slice|"
    r"reshape|_reshape_alias|flatten|unflatten|squeeze|unsqueeze|narrow|resize_|result_type|unbind|split\w*)|(?!aten::).*",
    "all other operations": r"aten::.*",
}
"""Kinds of operations by their names in a profile; the first that matches."""
OPTIMIZER, PYTHON = "optimizer", "Python and dispatch"
COLUMNS = (
    "matrix products, convolutions",
    "normalization",
    "casts and copies",
    "all other operations",
    OPTIMIZER,
    PYTHON,
)
STEPS, LEAST_SECONDS = 2, 1.0
"""Steps of an epoch, and what a repeat takes at least."""


def measured(model: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return rates, shares of time and peak memory of one model, in this process."""
    import torch

    from plastibench.profiling import throughput
    from plastibench.system.memory import peak_memory

    torch.set_num_threads(options.threads)
    clock = process_time if options.threads == 1 else perf_counter
    engine = _engine(model, precision, options.batch_size)
    device, learner = engine.learner.device, engine.learner
    epochs, rates, peaks = _epochs(engine), list[float](), list[float]()
    for _ in range(options.repeats):
        peaks.append(throughput.matmul_rate(device, precision, clock))
        seconds = throughput.time_call(device, lambda: _train(engine, epochs), clock)
        rates.append(epochs * len(learner.stage.train) / seconds)
    assert isinstance(learner.task, throughput.RandomImages)
    found: dict[str, Any] = {"rates": rates, "peaks": peaks, "flop": throughput.flops_per_image(learner.task)}
    _evaluate(engine)
    found |= {"memory": peak_memory(), "batch_size": options.batch_size}
    return found | {
        "shares": _shares(engine, epochs),
        "device": device.name(),
        "torch": str(torch.__version__),
    }


def _engine(model: str, precision: str, batch_size: int) -> TrainStep:
    from plastibench.devices import get_device
    from plastibench.plugins.registry import Registry
    from plastibench.profiling import throughput

    architecture = Registry().load("model", model)()
    recipe = throughput.RandomImages.recipes(architecture)["standard"]
    recipe = recipe.from_strings({"precision": precision, "batch_size": str(batch_size)})
    task = throughput.random_images(architecture, recipe, batch_size * STEPS)
    return throughput.make_train_step(task, get_device("cpu"))


def _evaluate(engine: TrainStep) -> None:
    from plastibench.training.evaluation import evaluate

    learner, test = engine.learner, engine.learner.stage.test
    assert test is not None, "random images have a test part"
    evaluate(learner.model, test, engine.recipe, learner.device)


def _train(engine: TrainStep, epochs: int) -> None:
    from plastibench.profiling import throughput

    for _ in range(epochs):
        throughput.train_epoch(engine)


def _epochs(engine: TrainStep) -> int:
    """Return how many epochs a repeat has; the first ones allocate memory and choose kernels."""
    from plastibench.profiling import throughput

    throughput.train_epoch(engine)
    begun, number = process_time(), 0
    while process_time() - begun < LEAST_SECONDS:
        throughput.train_epoch(engine)
        number += 1
    return number


def _shares(engine: TrainStep, epochs: int) -> dict[str, float]:
    """Return the share of each kind of work in the time of training steps."""
    from torch.profiler import ProfilerActivity, profile

    _mark_update(engine)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as watched:
        begun = perf_counter()
        _train(engine, min(epochs, 3))
        whole = 1e6 * (perf_counter() - begun)
    found = Counter[str]()
    for event in watched.events():
        found[_kind(event)] += event.self_cpu_time_total
    del found["dispatch"]
    return {**{kind: us / whole for kind, us in found.items()}, PYTHON: 1 - found.total() / whole}


def _mark_update(engine: TrainStep) -> None:
    """Name the optimizer's own work in a profile: passes are computed in a function that it calls."""
    from torch.profiler import record_function

    optimizer = engine.learner.optimizer
    step = optimizer.step

    def marked(closure: Callable[[], Tensor]) -> Any:
        loss = closure()
        with record_function(OPTIMIZER):
            return step(lambda: loss)  # type: ignore[arg-type, return-value]

    vars(optimizer)["step"] = marked


def _kind(event: Any) -> str:
    name, parent = event.name, event
    while parent is not None:
        if parent.name == OPTIMIZER:
            return OPTIMIZER
        parent = parent.cpu_parent
    return next(kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name))


def speed_row(model: str, precision: str, found: dict[str, Any]) -> list[str]:
    """Return the cells of a model's row in the first table."""
    rates, flop = found["rates"], found["flop"]
    shares = [rate * flop / peak for rate, peak in zip(rates, found["peaks"], strict=True)]
    rate = statistics.median(rates)
    return [
        model,
        precision,
        f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        f"{1000 * found['batch_size'] / rate:,.1f}",
        f"{rate * flop / 1e9:,.1f}",
        f"{statistics.median(found['peaks']) / 1e9:,.1f}",
        f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})",
        f"{found['memory'] / 2**20:,.0f}",
    ]


def time_row(model: str, precision: str, found: dict[str, Any]) -> list[str]:
    """Return the cells of a model's row in the second table."""
    return [model, precision, *(f"{found['shares'].get(name, 0.0):.0%}" for name in COLUMNS)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown whose first two columns are text."""
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure every model in every precision and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        model, precision = options.case
        print(json.dumps(measured(model, precision, options)))
        return
    speeds, times, found = [], [], dict[str, Any]()
    for model in options.models.split(","):
        for precision in options.precisions.split(","):
            words = [sys.executable, __file__, *sys.argv[1:], "--case", model, precision]
            found = json.loads(subprocess.check_output(words))
            speeds.append(speed_row(model, precision, found))
            times.append(time_row(model, precision, found))
            print(" ".join(speeds[-1]), file=sys.stderr, flush=True)
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    print(
        f"{found['device']}, {threads}, torch {found['torch']}; batches of {options.batch_size}; "
        f"n = {options.repeats}: median (smallest to largest)\n"
    )
    head = ["model", "precision", "images/s", "ms a step", "GFLOP/s", "GFLOP/s of a matrix product", "share"]
    print(table([*head, "peak memory, MiB"], speeds), "\n")
    print(table(["model", "precision", *COLUMNS], times))


if __name__ == "__main__":
    main()

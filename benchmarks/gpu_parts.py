"""What `gpu.py` measures, part by part. Each writes its lines under keys of its own."""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import torch

from plastibench.devices import Device, get_device
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.profiling import throughput
from plastibench.profiling.concurrency import Workload, best_num_runs, measure_concurrency
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.scheduler import run_specs
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record
from plastibench.testing.run_trace import equal_weights, trace_run
from plastibench.training.evaluation import evaluate
from plastibench.training.step import TrainStep

if TYPE_CHECKING:
    from benchmarks.gpu import Results
    from plastibench.experiments.spec import Spec
    from plastibench.plugins.method import Method

SUITE, QUICK_SUITE = "paper-cifar10", "quickstart"
BATCHES = 6
"""Files of CIFAR-10 with images."""
MPS_CONTROL = "nvidia-cuda-mps-control"
QUEUED = 16
"""Steps launched without waiting: so few that no queue of the driver is full."""
STAGES = 5
"""Of 50, of the run that is compared with the reference code."""
Row = dict[str, Any]
SMALL = {"max_stages": "2", "max_epochs": "2", "width": "4", "train_size": "130"}


@dataclass(frozen=True)
class Part:
    """Something to measure."""

    key: str
    seconds: float
    """What it takes at most, about."""
    measure: Callable[[], Row]
    """Returns what was found."""
    waits: str | None = None
    """What it lacks, or None."""


def parts(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """Yield all parts asked for, the short ones first."""
    makers = {
        "speed": speed,
        "equal": equal,
        "together": side_by_side,
        "staged": staged,
        "column": column,
    }
    for name in options.only.split(",") if options.only else makers:
        yield from makers[name](options, results)


WAYS = ("eager", "captured", "compiled")
"""How steps are taken: launched one by one, captured as runs do, captured with the option --compile."""


def device_by(way: str, name: str) -> Device:
    """Return a device that takes steps in one way."""
    device = get_device(name)
    if way == "eager":
        vars(device)["graph_capturer"] = lambda: None
    elif way == "compiled":
        device.use_compiler()
    return device


# One run alone.


def speed(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """Images a second of one run: by optimizer, precision, and way."""
    device = get_device(options.device)
    precisions = device.supported_precisions()[::-1]
    asked = [("sgd", precisions[0], way) for way in WAYS]
    asked += [("sgd", precision, "compiled") for precision in precisions[1:]]
    asked += [(optimizer, precisions[0], "compiled") for optimizer in ("sam", "adam")]
    if device.graph_capturer() is None:
        asked = [("sgd", precision, "eager") for precision in precisions]
    for optimizer, precision, way in asked[:2] if options.quick else asked:
        recipe = Recipe().from_strings({"optimizer": optimizer, "precision": precision})
        measure = partial(_speed_in_process, options, recipe, way)
        yield Part(f"speed/{optimizer}/{precision}/{way}", 60.0, measure)


def _speed_in_process(options: argparse.Namespace, recipe: Recipe, way: str) -> Row:
    """Measure in a fresh process, since kernels are chosen once for a process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_speed, options, recipe, way).result()


def _speed(options: argparse.Namespace, recipe: Recipe, way: str) -> Row:
    device = device_by(way, options.device)
    task = throughput.random_images(_model(options), recipe, 256 if options.quick else 16_384)
    engine, flop = throughput.make_train_step(task, device), throughput.flops_per_image(task)
    model, test = engine.learner.model, engine.learner.stage.test
    assert test is not None
    evaluation = partial(evaluate, model, test, recipe, device, capturer=device.graph_capturer())
    for _ in range(2):  # what a shape's first steps choose, compile and record is behind it then
        throughput.train_epoch(engine)
        evaluation()
    rates, peaks, issues, memory = [], [], [], []
    for _ in range(1 if options.quick else 5):
        peaks.append(throughput.matmul_rate(device, recipe.precision))
        device.reset_peak_memory_stats()
        seconds = throughput.time_call(device, lambda: throughput.train_epoch(engine))
        memory.append(device.max_memory_allocated())
        rates.append(len(engine.learner.stage.train) / seconds)
        issues.append(_issue(engine))
    evaluated = throughput.time_call(device, evaluation)
    return {
        "images_per_second": rates,
        "utilization": statistics.median(rate * flop / peak for rate, peak in zip(rates, peaks, strict=True)),
        "evaluation_images_per_second": len(test) / evaluated,
        "issue_seconds": issues,
        "runs_issued": recipe.batch_size / statistics.median(rates) / statistics.median(issues),
        "peak_memory": memory[-1],
    }


def _issue(engine: TrainStep) -> float:
    """Return the seconds in which Python prepares and launches a step, without waiting for the device."""
    device, train = engine.learner.device, engine.learner.stage.train
    batches = islice(train.batches(engine.recipe.batch_size), QUEUED)
    before = engine.learner.step
    device.synchronize()
    start = perf_counter()
    for batch in batches:
        engine(*batch)
    seconds = (perf_counter() - start) / (engine.learner.step - before)
    device.synchronize()
    return seconds


def _model(options: argparse.Namespace) -> Any:
    registry = Registry()
    if options.quick:
        return registry.load("model", "small_resnet")(width=4)
    return registry.load("model", "resnet18")()


# Recorded steps against steps by Python.


def equal(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """The largest difference between the weights of recorded runs and of runs by Python, every method."""
    registry = Registry()
    asked = [(name, how) for name in registry.names("method") for how in ("sgd", "sam", "adam")]
    for name, optimizer in asked[:1] if options.quick else asked:
        key = f"equal/{name}/{optimizer}"

        yield Part(key, 20.0, partial(_difference, options.device, registry.load("method", name), optimizer))


def _difference(name: str, kind: type[Method], optimizer: str) -> Row:
    recipe = Recipe(batch_size=48, max_epochs=3, target_accuracy=None).from_strings({"optimizer": optimizer})
    task = throughput.random_images(Registry().load("model", "small_resnet")(width=8), recipe, 256)
    reason = kind().unsupported(task)
    if reason is not None:
        return {"unsupported": reason}
    torch.backends.cudnn.deterministic = True
    try:
        one, other = (
            trace_run(task, kind(), device=device).weights
            for device in (device_by("captured", name), device_by("eager", name))
        )
    finally:
        torch.backends.cudnn.deterministic = False
    largest = max(
        float((a.double() - b[key].double()).abs().max())
        for a_stage, b in zip(one, other, strict=True)
        for key, a in a_stage.items()
    )
    return {"same_bits": equal_weights(one, other), "largest_difference": largest}


# Several runs at once.


def side_by_side(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """Images a second of 1, 2, 4 and 8 runs in processes of their own."""
    precision = get_device(options.device).supported_precisions()[-1]
    for way in ("processes", "mps") if options.mps else ("processes",):
        for runs in (2,) if options.quick else (1, 2, 4, 8):
            key = f"together/{way}/{runs}"

            lacks = _lacks_mps() if way == "mps" else None
            yield Part(key, 90.0, partial(_together, options, precision, way, runs), lacks)


def _together(options: argparse.Namespace, precision: str, way: str, runs: int) -> Row:
    recipe = Recipe().from_strings({"precision": precision})
    full = Workload("resnet18", recipe, options.device, seconds=8.0, num_images=16_384, compile=True)
    load = Workload("small_resnet", recipe, options.device, 0.3, 128) if options.quick else full
    with _mps() if way == "mps" else nullcontext():
        (found,) = measure_concurrency(load, [runs])
    if found.reason is not None:
        raise RuntimeError(found.reason)
    return found.as_dict()


def _mps_control() -> str | None:
    """Return the program that controls MPS; the driver may have a folder of its own for it."""
    return shutil.which(MPS_CONTROL) or shutil.which(MPS_CONTROL, path="/usr/local/nvidia/bin")


def _lacks_mps() -> str | None:
    return None if _mps_control() else f"{MPS_CONTROL} is not installed"


@contextmanager
def _mps() -> Iterator[None]:
    """Let processes started inside share the GPU through a server of their own, which ends with them."""
    control = _mps_control()
    assert control is not None, "the part waits without it"
    with tempfile.TemporaryDirectory() as folder:
        named = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        os.environ.update(named)
        try:
            subprocess.run([control, "-d"], check=True)
            yield
        finally:
            subprocess.run([control], input="quit\n", text=True, check=False)
            for name in named:
                del os.environ[name]


# The first stages of a run, beside the reference code.


def staged(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """Seconds of one warm-started run, its program's start included: ours and the reference's in turn."""
    lacks = None if options.quick else _lacks_data(options)
    theirs = lacks or _lacks_reference(options)
    supported_precisions = get_device(options.device).supported_precisions()[::-1]
    for repeat in range(1 if options.quick else options.repeats):
        for precision in supported_precisions[:1] if options.quick else supported_precisions:
            yield Part(
                f"staged/{precision}/{repeat}", 60.0, partial(_ours, options, precision, repeat), lacks
            )
        yield Part(f"staged/reference/{repeat}", 240.0, partial(_reference, options, repeat), theirs)


def _lacks_data(options: argparse.Namespace) -> str | None:
    found = list((options.data / "cifar-10-batches-py").glob("*_batch*"))
    whole = sum(not path.name.endswith(".part") for path in found) >= BATCHES
    return None if whole else f"{options.data} has {len(found)} of {BATCHES} batches of CIFAR-10"


def _lacks_reference(options: argparse.Namespace) -> str | None:
    """Return what the reference code lacks, or None."""
    if options.reference is None:
        return "no checkout of the reference code was given"
    if options.quick:
        return None
    if importlib.util.find_spec("dotmap") is None:
        return "the reference code needs the package dotmap"
    meta = options.data / "cifar-10-batches-py" / "batches.meta"
    return None if meta.exists() else f"torchvision needs {meta}"


def _ours(options: argparse.Namespace, precision: str, seed: int) -> Row:
    settings = {"precision": precision, "max_stages": str(STAGES), **(SMALL if options.quick else {})}
    grid = _grid(options, settings)
    grid = Grid(grid.tasks, ("warm",), grid.models, seeds=(seed,), device=grid.device, settings=grid.settings)
    with tempfile.TemporaryDirectory() as home:
        context = RunContext(Workspace(home=Path(home), data=options.data, cache=Path(home)), options.device)
        start = perf_counter()
        process = multiprocessing.get_context("spawn").Process(target=_carry_out, args=(grid, context))
        process.start()
        process.join()
        seconds = perf_counter() - start
        (record,) = context.store.records()
    return {"seconds": seconds, **_told(record)}


def _carry_out(grid: Grid, context: RunContext) -> None:
    execute(grid.specs(context.registry)[0], context, [PrintErrors()])


def _reference(options: argparse.Namespace, seed: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        words = [sys.executable, str(Path(__file__).with_name("reference_run.py")), "--alone", "warm"]
        words += ["--reference", str(options.reference), "--data", str(options.data), "--out", str(out)]
        words += ["--md5", str(options.md5)] if options.md5 else []
        words += ["--seed", str(2021 + seed), "--stages", str(STAGES)]
        start = perf_counter()
        done = subprocess.run(
            [*words, "--model", "resnet18", "--optimizer_type", "sgd"],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = perf_counter() - start
        rows = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    if done.returncode or len(rows) != STAGES:
        raise RuntimeError(f"the reference code failed: {done.stderr[-300:]}")
    return {"seconds": seconds, "stages": rows}


# The column of the paper's table.


def column(options: argparse.Namespace, results: Results) -> Iterator[Part]:
    """All runs of the SGD column, several at a time, as far as the time of a command goes."""
    precision = get_device(options.device).supported_precisions()[-1]
    specs = _grid(options, {"precision": precision, **(SMALL if options.quick else {})}).specs(Registry())
    todo = [spec for spec in specs if not results.done(f"column/{spec.id}")]
    if todo:
        key = f"clock/{sum(row['key'].startswith('clock/') for row in results.rows)}"
        lacks = None if options.quick else _lacks_data(options)
        yield Part(key, 45.0, partial(_column, options, results, todo), lacks)


def _column(options: argparse.Namespace, results: Results, todo: list[Spec]) -> Row:
    way, jobs = best_way(results)
    jobs = options.jobs or jobs
    context = RunContext(
        Workspace(home=options.home, data=options.data, cache=options.home / "cache"),
        options.device,
        threads=1,
        num_processes=jobs,
        compile=options.device.startswith("cuda"),
    )
    start = perf_counter()
    callback = PrintErrors(lambda record: results.add(f"column/{record.id}", _told(record)))
    sharing = _mps() if way == "mps" and _mps_control() else nullcontext()
    with sharing, _until(options.until - monotonic() - 30):
        run_specs(todo, context, [callback])
    seconds = perf_counter() - start
    return {"seconds": seconds, "finished": callback.finished_runs, "jobs": jobs, "way": way}


def best_way(results: Results) -> tuple[str, int]:
    """Return the fastest way to share the GPU and its number of runs; one process if nothing was measured."""
    from plastibench.profiling.concurrency import ConcurrencyResult, RunThroughput

    best = {}
    for way in ("processes", "mps"):
        rows = (row for row in results.rows if row["key"].startswith(f"together/{way}/"))
        rates = {row["num_runs"]: row["images_per_second"] for row in rows if "num_runs" in row}
        runs = best_num_runs(
            [ConcurrencyResult("", "", num, (RunThroughput(rate, None),)) for num, rate in rates.items()]
        )
        best[way] = (rates.get(runs, 0.0), runs)
    way = max(best, key=lambda way: best[way][0])
    return way, best[way][1]


def _grid(options: argparse.Namespace, settings: dict[str, str]) -> Grid:
    """Return the first grid of the paper's suite, or small runs of the quick start's."""
    usual = suites.load(QUICK_SUITE if options.quick else SUITE).grids[0]
    edition = {} if options.quick else {"edition": options.edition}
    seeds = usual.seeds[: 1 if options.quick else options.seeds]
    methods = usual.methods[:2] if options.quick else usual.methods
    changed = {**usual.settings, **edition, **settings}
    return Grid(usual.tasks, methods, usual.models, usual.recipe, seeds, options.device, changed)


def _told(record: Record) -> Row:
    phases = {f"{name}_seconds": sum(row[f"{name}_seconds"] for row in record.stages) for name in PHASES}
    return {
        "method": record.spec.method.name,
        "seed": record.spec.seed,
        "run_seconds": record.provenance["seconds"],
        "steps": sum(row["steps"] for row in record.stages),
        "test_accuracy": record.stages[-1]["test_accuracy"],
        "status": record.status,
        **phases,
    }


PHASES = ("train", "evaluation", "remedy")


class PrintErrors(RunCallback):
    """Count finished runs, and print what goes wrong."""

    def __init__(self, then: Callable[[Record], None] = lambda _: None) -> None:
        self.then = then
        self.finished_runs = 0

    def on_run_end(self, record: Record) -> None:
        self.finished_runs += 1
        self.then(record)

    def on_run_error(self, spec: Spec, message: str) -> None:
        print(f"{spec.method.name} seed {spec.seed}: failed: {message}", flush=True)

    def on_log(self, spec: Spec, message: str) -> None:
        print(f"{spec.method.name} seed {spec.seed}: {message}", flush=True)


@contextmanager
def _until(seconds: float) -> Iterator[None]:
    """Interrupt what is inside after so long: runs keep their state, as at Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1.0))
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

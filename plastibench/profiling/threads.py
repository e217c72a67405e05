"""How many CPU threads a run is fastest with: measured once for each model and machine, and kept.

More threads are a loss for small models even on an idle machine, where waiting for each other takes longer
than what is divided, and for any model if other processes use the cores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from plastibench.devices.device import arranged
from plastibench.experiments.spec import Spec, build, by_condition, digest
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.runner.context import RunContext
from plastibench.system.cpu import num_cores
from plastibench.system.files import write_atomic
from plastibench.system.locks import file_lock

if TYPE_CHECKING:
    from plastibench.devices import Device


FILE = "threads.json"
"""Kept in the cache folder."""
GAIN = 0.65
"""Twice the threads are taken if a step then takes this share of its seconds, or less.

Where they gain less they wait for each other often, and beside another process take twice as long as one.
"""
STEPS, LEAST_SECONDS = 2, 0.05
"""A measurement is the fastest of so many steps, or of as many as fit into this time."""
BUSY_LOAD = 0.5
"""Load of the machine, as a share of its cores, above which a measurement is not kept."""


@dataclass(frozen=True)
class ThreadChoice:
    """The number of threads for one model, and what it was chosen by."""

    threads: int
    seconds: Mapping[int, float]
    """Of a training step, by the number of threads."""


def choose_threads(specs: Sequence[Spec], context: RunContext, most: int) -> dict[str, ThreadChoice]:
    """Return the best number of threads, up to `most`, for one run of each condition, by its id.

    What was measured on this machine before is read; the rest is measured in this process, in a few steps on
    random examples. Conditions whose model cannot be fed so are left out.
    """
    path, found = context.workspace.cache / FILE, dict[str, ThreadChoice]()
    known = _read(path)
    for condition, spec in by_condition(specs).items():
        key = _key(spec, context, most)
        choice = known.get(key)
        if choice is None:
            is_busy = _is_busy()
            choice = _measured(spec, context, most)
            if choice is not None and not is_busy:
                _keep(path, key, choice)
        if choice is not None:
            known[key] = found[condition] = choice
    return found


def _key(spec: Spec, context: RunContext, most: int) -> str:
    """Return what a measurement depends on: the machine, torch, the model and its examples."""
    names = ("batch_size", "precision", "optimizer")
    recipe = {name: spec.recipe[name] for name in names}
    machine = [context.data_context.device.name(), torch.__version__, most]
    return digest([machine, spec.task.name, spec.model.as_dict(), recipe])


def _measured(spec: Spec, context: RunContext, most: int) -> ThreadChoice | None:
    """Return the choice for one run, or None if it cannot be measured: the run itself will say why."""
    with suppress(Exception), _kept_generators():
        task, _ = build(spec, context.registry)
        if isinstance(task, ClassificationTask):
            return choose(_Step(task, context.data_context.device).seconds, most)
    return None


def choose(seconds_with: Callable[[int], float], most: int) -> ThreadChoice:
    """Return the choice by a function that measures a step with a number of threads."""
    best, measured = 1, {1: seconds_with(1)}
    while best < most:
        more = min(2 * best, most)
        measured[more] = seconds_with(more)
        if measured[more] > GAIN * measured[best]:
            break
        best = more
    return ThreadChoice(best, measured)


class _Step:
    """A training step on random examples, without what is the same for any number of threads."""

    def __init__(self, task: ClassificationTask, device: Device) -> None:
        self.device, self.precision = device, task.recipe.precision
        self.model = device.prepare_model(task.model())
        x = torch.randn(task.recipe.batch_size, *task.input_shape())
        self.x = arranged(x.to(device.torch_device), device.memory_format(self.model))
        self.y = torch.zeros(len(x), dtype=torch.long, device=device.torch_device)

    def seconds(self, threads: int) -> float:
        """Return the seconds of a step."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            self._run()  # starts the threads, and chooses kernels
            end, times = perf_counter() + LEAST_SECONDS, list[float]()
            while len(times) < STEPS or perf_counter() < end:
                start = perf_counter()
                self._run()
                times.append(perf_counter() - start)
            return min(times)
        finally:
            torch.set_num_threads(before)

    def _run(self) -> None:
        with self.device.autocast(self.precision):
            loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.model.zero_grad()


@contextmanager
def _kept_generators() -> Iterator[None]:
    """Leave torch's random state as it was: the runs of this process draw from it."""
    with torch.random.fork_rng(devices=[]):
        yield


def _is_busy() -> bool:
    try:
        return os.getloadavg()[0] > BUSY_LOAD * num_cores()
    except (OSError, AttributeError):  # Windows
        return False


def _read(path: Path) -> dict[str, ThreadChoice]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(key): ThreadChoice(
                int(one["threads"]), {int(n): float(each) for n, each in one["seconds"].items()}
            )
            for key, one in saved.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep(path: Path, key: str, choice: ThreadChoice) -> None:
    """Add a choice to the file; a cache that cannot be written is done without."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_name(f".{FILE}.lock"), remove=True):
            known = _read(path) | {key: choice}
            plain = {name: {"threads": one.threads, "seconds": one.seconds} for name, one in known.items()}
            write_atomic(path, json.dumps(plain, indent=1, sort_keys=True) + "\n", sync=False)

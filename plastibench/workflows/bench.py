"""Measure how fast a device trains the models, and where the seconds of a run go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.devices import Device, get_device
from plastibench.experiments import suites
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.workspace import Workspace

if TYPE_CHECKING:
    from plastibench.profiling.concurrency import ConcurrencyResult
    from plastibench.profiling.method_overhead import MethodOverhead
    from plastibench.profiling.throughput import Throughput, TimeBreakdown


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """Models to measure on a device. Raises RequestError for what does not exist."""

    models: tuple[str, ...] | None = None
    """None stands for all."""
    device_name: str = "cpu"
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the recipe."""
    methods: tuple[str, ...] = ()
    """To measure what they add to training; `all` stands for all."""
    threads: int | None = None
    """CPU threads; None is torch's own choice, or the device's for concurrent runs."""
    plugins: tuple[Path, ...] = ()

    @cached_property
    def registry(self) -> Registry:
        """Return the plug-ins by name."""
        return Registry(self.plugins)

    @cached_property
    def device(self) -> Device:
        """Return the device, which supports the recipe's precision."""
        device = get_device(self.device_name)
        device.autocast(self.recipe.precision)
        return device

    @cached_property
    def recipe(self) -> Recipe:
        """Return the recipe, whose optimizer, batch size and precision are used."""
        return Recipe().from_strings(self.settings)

    @cached_property
    def model_names(self) -> Sequence[str]:
        """Return the names of models that exist."""
        for name in self.models or ():
            self.registry.get("model", name)
        return self.models or self.registry.names("model")

    @cached_property
    def method_names(self) -> Sequence[str]:
        """Return the names of methods that exist."""
        if self.methods == ("all",):
            return self.registry.names("method")
        for name in self.methods:
            self.registry.get("method", name)
        return self.methods


def measure_models(request: BenchRequest) -> Iterator[Throughput]:
    """Yield the throughput of one model after another, measured with the code that runs use."""
    import torch

    from plastibench.profiling.throughput import measure_throughput

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    models = [(name, request.registry.load("model", name)()) for name in request.model_names]
    return measure_throughput(models, request.recipe, request.device)


def measure_methods(request: BenchRequest) -> Iterator[tuple[str, Iterator[MethodOverhead]]]:
    """Return, for each model, its name and the overheads of the methods beside the usual baseline.

    The model is that of the quick start unless others are named.
    """
    import torch

    from plastibench.profiling import method_overhead, throughput

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    load = request.registry.load
    methods = {name: load("method", name)() for name in request.method_names}
    baseline = load("method", suites.defaults().baseline)()
    names = request.models or (_usual_model(request.registry),)
    tasks = [throughput.random_images(load("model", name)(), request.recipe) for name in names]
    overheads = (method_overhead.measure_methods(methods, baseline, task, request.device) for task in tasks)
    return zip(names, overheads, strict=True)


def _usual_model(registry: Registry) -> str:
    return suites.load(suites.defaults().suite).grids[0].specs(registry)[0].model.name


def measure_breakdown(request: BenchRequest) -> TimeBreakdown:
    """Return where the seconds of the quick start's baseline go."""
    from plastibench.profiling.throughput import TimeBreakdown

    usual = suites.load(suites.defaults().suite).grids[0]
    # Two seeds: the first run imports and warms up.
    grid = replace(usual, methods=(suites.defaults().baseline,), seeds=(0, 1), device=request.device_name)
    with tempfile.TemporaryDirectory() as home:
        context = RunContext(Workspace(home=Path(home)), request.device_name)
        records = [execute(spec, context) for spec in grid.specs(request.registry)]
    return TimeBreakdown.from_record(records[-1])


def measure_concurrent_runs(
    request: BenchRequest, model: str, counts: Sequence[int]
) -> Iterator[ConcurrencyResult]:
    """Yield the total throughput of a model for each number of concurrent runs."""
    from plastibench.profiling.concurrency import Workload, measure_concurrency

    workload = Workload(
        model, request.recipe, request.device_name, threads=request.threads, plugins=request.plugins
    )
    return measure_concurrency(workload, counts)

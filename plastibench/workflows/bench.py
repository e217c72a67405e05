"""The command that measures speed: names to models, numbers to text."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch

from plastibench.devices import get_device
from plastibench.errors import RequestError
from plastibench.experiments import suites
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute

if TYPE_CHECKING:
    from plastibench.profiling.concurrency import ConcurrencyResult
    from plastibench.profiling.throughput import Throughput
    from plastibench.profiling.time_breakdown import TimeBreakdown

HEAD = f"{'model':<16}{'precision':>10}{'train images/s':>26}{'test images/s':>15}{'peak':>8}"


@dataclass(frozen=True)
class Ask:
    """What to measure, as a user named it."""

    model: str | None
    device: str
    settings: Mapping[str, str]
    threads: int | None
    plugins: tuple[Path, ...]


def measure(ask: Ask, *, as_json: bool) -> None:
    """Print the speed of models on a device, and the split of the seconds of one small real run.

    Raises RequestError for an unknown model, device or setting.
    """
    from plastibench.profiling.throughput import measure_throughput

    registry, device = Registry(ask.plugins), get_device(ask.device)
    names = [name.strip() for name in ask.model.split(",")] if ask.model else registry.names("model")
    models = [(name, registry.load("model", name)()) for name in names]
    recipe = Recipe().from_strings(ask.settings)
    device.autocast(recipe.precision)
    if ask.threads is not None:
        torch.set_num_threads(ask.threads)
    found = []
    click.echo(f"{device.name()}, batches of {recipe.batch_size}, {recipe.optimizer}", err=as_json)
    click.echo(HEAD, err=as_json)
    for speed in measure_throughput(models, recipe, device):
        found.append(speed.as_dict())
        click.echo(_line(speed), err=as_json)
    split = _split(ask.device, registry)
    click.echo(_split_line(split), err=as_json)
    if as_json:
        click.echo(json.dumps({"device": device.name(), "models": found, "split": asdict(split)}, indent=1))


def _line(speed: Throughput) -> str:
    spread = (
        f"{speed.train_images_per_second:,.0f} ({speed.train_slowest:,.0f} to {speed.train_fastest:,.0f})"
    )
    tested = f"{speed.evaluation_images_per_second:,.0f}"
    return f"{speed.model:<16}{speed.precision:>10}{spread:>26}{tested:>15}{100 * speed.utilization:>7.0f}%"


def _split_line(split: TimeBreakdown) -> str:
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in split.fractions().items())
    return f"seconds of a stage of the quick start's baseline: {sum(asdict(split).values()):.3f} ({shares})"


def _split(device: str, registry: Registry) -> TimeBreakdown:
    """Carry out one small run in a folder that is thrown away, twice: the first one imports and warms up."""
    from plastibench.profiling.time_breakdown import TimeBreakdown

    usual = suites.load(suites.defaults().suite).grids[0]
    grid = replace(usual, methods=(suites.defaults().baseline,), seeds=(0, 1), device=device)
    with tempfile.TemporaryDirectory() as home:
        context = RunContext(Path(home), Path(home), Path(home), device)
        records = [execute(spec, context) for spec in grid.specs(registry)]
    return TimeBreakdown.from_record(records[-1])


def measure_together(ask: Ask, counts: str, *, as_json: bool) -> None:
    """Print what runs side by side train in all, for each number of them, and which number to choose.

    Raises RequestError for an unknown model, device or setting, and for counts that are no numbers.
    """
    from plastibench.profiling.concurrency import Workload, best_num_runs, measure_concurrency

    registry, device, numbers = Registry(ask.plugins), get_device(ask.device), _counts(counts)
    recipe = Recipe().from_strings(ask.settings)
    device.autocast(recipe.precision)
    names = [name.strip() for name in ask.model.split(",")] if ask.model else registry.names("model")
    for name in names:
        registry.load("model", name)
    found = []
    click.echo(f"{device.name()}, batches of {recipe.batch_size}, {recipe.optimizer}", err=as_json)
    for name in names:
        workload = Workload(name, recipe, ask.device, threads=ask.threads, plugins=ask.plugins)
        rows = []
        for row in measure_concurrency(workload, numbers):
            rows.append(row)
            click.echo(_together_line(row), err=as_json)
        chosen = best_num_runs(rows)
        click.echo(f"{name}: most with --jobs {chosen}", err=as_json)
        found.append({"model": name, "jobs": chosen, "together": [row.as_dict() for row in rows]})
    if as_json:
        click.echo(json.dumps({"device": device.name(), "models": found}, indent=1))


def _counts(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise RequestError(f"--together {text} is not allowed: write whole numbers from 1, such as 1,2,4,8")
    return [int(word) for word in words]


def _together_line(row: ConcurrencyResult) -> str:
    head = f"{row.model:<16}{row.precision:>10}{row.num_runs:>4} together"
    rate = row.images_per_second()
    if rate is None:
        return f"{head}: {row.reason}"
    each = [share.images_per_second for share in row.per_run]
    held = [share.peak_memory for share in row.per_run if share.peak_memory is not None]
    memory = f", {max(held) / 2**30:.1f} GiB each" if held else ""
    return f"{head}{rate:>12,.0f} images/s ({min(each):,.0f} to {max(each):,.0f} each{memory})"

"""Measure speed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.workflows.bench import BenchRequest


def counts(text: str) -> tuple[int, ...]:
    """Parse whole numbers from 1, separated by commas."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise click.BadParameter(f"{text!r}: write whole numbers from 1, such as 1,2,4,8")
    return tuple(map(int, words))


@define_command("bench", "Machine")
@click.option(
    "--model",
    "models",
    type=parsing.names,
    shell_complete=completion.names_of("model"),
    help="Models, separated by commas. Default: all.",
)
@click.option(
    "--method",
    "methods",
    type=parsing.names,
    shell_complete=completion.names_of("method", also=("all",)),
    help="Measure what methods add to a training step and a stage instead, separated by commas, or all.",
)
@click.option(
    "--device",
    default="cpu",
    shell_complete=completion.devices,
    show_default=True,
    help=f"{completion.DEVICE_NAMES}.",
)
@options.SETTINGS
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: torch's own choice.")
@options.JSON
@click.option(
    "--concurrency",
    type=counts,
    metavar="N,N",
    help="Measure this many concurrent runs instead, such as 1,2,4,8.",
)
@options.PLUGINS
def command(
    models: tuple[str, ...] | None,
    methods: tuple[str, ...] | None,
    device: str,
    settings: tuple[tuple[str, str], ...],
    threads: int | None,
    *,
    as_json: bool,
    concurrency: tuple[int, ...] | None,
    plugins: tuple[Path, ...],
) -> None:
    """Measure how fast a device trains, and what methods cost.

    By default the models' throughput, and where the seconds of a run go. With --concurrency, measure the
    total of several runs that share the device, and how many to choose. With --method, measure what methods
    cost beside the baseline, by default on the quick start's model.

    Examples:
        plastibench bench --model resnet18 --device cuda
        plastibench bench --method all  # what remedies cost beside the baseline
        plastibench bench --model small_resnet --concurrency 1,2,4  # how many runs at a time

    """
    from plastibench.workflows.bench import BenchRequest

    if methods and concurrency:
        raise click.UsageError("--method and --concurrency cannot be given together")
    request = BenchRequest(
        models=models,
        methods=methods or (),
        device_name=device,
        settings=dict(settings),
        threads=threads,
        plugins=plugins,
    )
    if methods:
        _measure_methods(request, as_json=as_json)
    elif concurrency is None:
        _measure_models(request, as_json=as_json)
    else:
        _measure_concurrency(request, concurrency, as_json=as_json)


def _measure_models(request: BenchRequest, *, as_json: bool) -> None:
    from plastibench.cli.render import breakdown_line, throughput_head, throughput_line
    from plastibench.workflows.bench import measure_breakdown, measure_models

    speeds, results = measure_models(request), []
    show = partial(click.echo, err=as_json)
    show(_title(request))
    show(throughput_head())
    for speed in speeds:
        results.append(speed)
        show(throughput_line(speed))
    breakdown = measure_breakdown(request)
    show(breakdown_line(breakdown))
    if as_json:
        print_json(device=request.device.name(), models=results, seconds_per_stage=breakdown)


def _measure_methods(request: BenchRequest, *, as_json: bool) -> None:
    from plastibench.cli.render import overhead_head, overhead_line
    from plastibench.workflows.bench import measure_methods

    measured, models = measure_methods(request), []
    show = partial(click.echo, err=as_json)
    show(_title(request))
    for name, overheads in measured:
        show(overhead_head(name))
        results = []
        for result in overheads:
            results.append(result)
            show(overhead_line(result))
        models.append({"model": name, "methods": results})
    if as_json:
        print_json(device=request.device.name(), models=models)


def _measure_concurrency(request: BenchRequest, numbers: tuple[int, ...], *, as_json: bool) -> None:
    from plastibench.cli.render import concurrency_line
    from plastibench.profiling.concurrency import best_num_runs
    from plastibench.workflows.bench import measure_concurrent_runs

    models = []
    show = partial(click.echo, err=as_json)
    show(_title(request))
    for name in request.model_names:
        results = []
        for result in measure_concurrent_runs(request, name, numbers):
            results.append(result)
            show(concurrency_line(result))
        jobs = best_num_runs(results)
        show(f"{name}: fastest with --jobs {jobs}")
        models.append({"model": name, "jobs": jobs, "concurrency": [result.as_dict() for result in results]})
    if as_json:
        print_json(device=request.device.name(), models=models)


def _title(request: BenchRequest) -> str:
    recipe = request.recipe
    return f"{request.device.name()}, batches of {recipe.batch_size}, {recipe.optimizer}"

"""Values as text: tables, states of runs, listings, measurements."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable
from rich.text import Text

from plastibench.analysis.tables.export import EXPORT_FORMATS
from plastibench.cli.text_tables import plain_table
from plastibench.errors import count, count_range, unknown
from plastibench.store.tuned_settings import format_cost

if TYPE_CHECKING:
    from plastibench.profiling.concurrency import ConcurrencyResult
    from plastibench.profiling.method_overhead import MethodOverhead
    from plastibench.profiling.throughput import Throughput, TimeBreakdown
    from plastibench.runner.workspace import Workspace
    from plastibench.store.run_status import RunStatus
    from plastibench.store.tuned_settings import TunedSettings
    from plastibench.workflows.submit import Submission
    from plastibench.workflows.tune import TuneResult

MIN_DIGITS = 8
"""Digits of an id that are shown at least."""
FORMATS = ("text", *EXPORT_FORMATS)


def check_format(name: str) -> None:
    """Raise RequestError for a format that does not exist."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)


def status_table(entries: Sequence[RunStatus]) -> RichTable:
    """Return a line for each run, and the counts below."""
    counts = Counter(run.state for run in entries)
    total = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    layout = plain_table(caption=Text(f"{count(len(entries), 'run')}: {total}"), caption_justify="left")
    for name in ("id", "run", "state", "stages", ""):
        layout.add_column(
            name, no_wrap=name in ("id", "state"), justify="right" if name == "stages" else "left"
        )
    digits = _distinct_digits([run.run for run in entries])
    for run in entries:
        layout.add_row(*map(Text, (run.run[:digits], run.name, run.state, str(run.stages), run.detail)))
    return layout


def _distinct_digits(ids: Sequence[str]) -> int:
    """Return how many digits tell ids apart: a command takes the beginning of an id."""
    return next((n for n in range(MIN_DIGITS, 16) if len({run[:n] for run in ids}) == len(set(ids))), 16)


def throughput_head() -> str:
    """Return the names of the columns of `throughput_line`."""
    return f"{'model':<16}{'precision':>10}{'train images/s':>26}{'test images/s':>15}{'peak':>8}"


def throughput_line(speed: Throughput) -> str:
    """Return the throughput of a model."""
    train = f"{speed.train_images_per_second:,.0f} ({speed.train_slowest:,.0f} to {speed.train_fastest:,.0f})"
    test = f"{speed.evaluation_images_per_second:,.0f}"
    return f"{speed.model:<16}{speed.precision:>10}{train:>26}{test:>15}{100 * speed.utilization:>7.0f}%"


def breakdown_line(breakdown: TimeBreakdown) -> str:
    """Return where the seconds of a stage go."""
    parts = ", ".join(f"{name} {100 * part:.1f} %" for name, part in breakdown.fractions().items())
    total = sum(asdict(breakdown).values())
    return f"a stage of the quick start's baseline takes {total:.3f} s ({parts})"


def overhead_head(model: str) -> str:
    """Return the names of the columns of `overhead_line`; all are relative to the baseline."""
    return f"{model:<23}{'a step':>21}{'between stages, steps':>22}{'FLOPs':>7}{'memory':>7}"


def overhead_line(overhead: MethodOverhead) -> str:
    """Return what a method costs beside the baseline, or why it was not measured."""
    step, stage = overhead.step, overhead.stage
    if step is None or stage is None:
        return f"{overhead.method:<23}  - ({overhead.reason})"
    times = f"{step.median:.2f}x ({step.low:.2f} to {step.high:.2f})"
    between = f"{stage.median:.2f} ({stage.low:.2f} to {stage.high:.2f})"
    flops, memory = ("-" if one is None else f"{one:.2f}x" for one in (overhead.flops, overhead.memory))
    return f"{overhead.method:<23}{times:>21}{between:>22}{flops:>7}{memory:>7}"


def concurrency_line(result: ConcurrencyResult) -> str:
    """Return the throughput of a number of concurrent runs, or why they failed."""
    head = f"{result.model:<16}{result.precision:>10}{result.num_runs:>4} concurrent"
    total = result.images_per_second()
    if total is None:
        return f"{head}: {result.reason}"
    rates = [run.images_per_second for run in result.per_run]
    peaks = [run.peak_memory for run in result.per_run if run.peak_memory is not None]
    memory = f", {max(peaks) / 2**30:.1f} GiB each" if peaks else ""
    return f"{head}{total:>12,.0f} images/s ({min(rates):,.0f} to {max(rates):,.0f} each{memory})"


def tuning_lines(result: TuneResult, workspace: Workspace) -> list[str]:
    """Return the best trials of each study, and the command that measures them."""
    from plastibench.runner.workspace import default_data
    from plastibench.tuning.objective import format_values
    from plastibench.tuning.trials import best_trials, trial_costs

    lines = []
    for study in result.studies:
        trials = study.finished_trials()
        for trial in best_trials(study.study):
            values = format_values(study.plan.config.objectives, trial.values)
            params = ", ".join(f"{name}={value:.6g}" for name, value in trial.params.items())
            lines.append(
                f"{study.plan.study_name}: trial {trial.number} of {count(len(trials), 'trial')}: "
                f"{values} with {params}"
            )
        lines += [f"  all its trials took {format_cost(trial_costs(trials))}"] if trials else []
    if result.suite is None:
        return [*lines, "no trial was judged: there is nothing to choose from"]
    words = ["plastibench", "run", "--tuned", result.suite.stem, "--home", str(workspace.home)]
    words += ["--data", str(workspace.data)] if workspace.data != default_data() else []
    command = shlex.join(words)
    return [
        *lines,
        f"chosen settings: {result.suite.resolve()}",
        "to measure them on seeds of their own:",
        f"  {command}",
    ]


def submission_lines(result: Submission) -> list[str]:
    """Return what a maintainer needs to know of a records file."""
    content = result.content
    parts = [(kind, part) for record in content.runs for kind, part in record.spec.all_parts()]
    methods = sorted({part.name for kind, part in parts if kind == "method"})
    settings = sorted({f"{record.spec.task.name}, {record.spec.model.name}" for record in content.runs})
    seeds = Counter(record.variant_id for record in content.runs)
    origins = {
        name: ", ".join(sorted({str(record.provenance.get(name)) for record in content.runs}))
        for name in ("device", "threads", "torch", "plastibench", "commit")
    }
    size = f"{count(len(content.runs), 'run')}, {result.num_bytes:,} bytes"
    lines = [
        f"{result.path}: board {content.board.name}, {size}",
        f"settings: {'; '.join(settings)}",
        f"methods: {', '.join(methods)}",
        f"{count_range(seeds.values(), 'seed')} of each method",
        "made with: " + "; ".join(f"{name} {value}" for name, value in origins.items()),
    ]
    lines += [f"source of {kind} {name} (code {code}) is in the file" for kind, name, code in content.plugins]
    lines += [_tuning_line(one) for one in content.tuned.values()]
    return lines


def _tuning_line(origin: TunedSettings) -> str:
    cost = f", {format_cost(origin.cost)}" if origin.cost else ""
    return f"tuned with {count(origin.trials, 'trial')}: study {origin.study}{cost}"


def tuning_as_dict(result: TuneResult) -> dict[str, Any]:
    """Return each study's best trials, and the suite of the chosen settings, as plain values."""
    from plastibench.tuning.trials import best_trials, trial_costs

    return {
        "tuning": result.name,
        "suite": None if result.suite is None else result.suite.resolve(),
        "studies": [
            {
                "study": study.plan.study_name,
                "method": study.plan.base_spec.method.name,
                "objectives": study.plan.config.objectives,
                "num_trials": len(study.finished_trials()),
                "cost": trial_costs(study.finished_trials()),
                "best": [
                    {"trial": trial.number, "values": trial.values, "settings": trial.params}
                    for trial in best_trials(study.study)
                ],
            }
            for study in result.studies
        ],
    }

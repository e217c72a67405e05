"""A plan as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.console import describe_seconds
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.workflows.plan import MethodPlan, Plan

HEADER = (
    "runs of",
    "all",
    "done",
    "missing",
    "a run",
    "hours",
    "TFLOPs",
    "memory",
    "disk",
    "by",
)


def plan_table(plan: Plan) -> TextTable:
    """Return a table with a row for each method."""
    rows = [list(map(Cell, _row(method))) for method in plan.methods]
    return TextTable(f"{plan.name} on {plan.device}", list(HEADER), rows, [])


def _row(method: MethodPlan) -> list[str]:
    missing = method.num_missing
    numbers = [method.num_runs, method.num_done, missing]
    return [
        f"{method.task} {method.model} {method.method}",
        *map(str, numbers),
        describe_seconds(method.run_seconds),
        f"{missing * method.run_seconds / 3600:.2f}",
        "absent" if method.run_flops is None else f"{missing * method.run_flops / 1e12:,.3g}",
        "absent" if method.run_memory is None else size(method.run_memory),
        size(missing * method.run_disk),
        method.source,
    ]


def plan_lines(plan: Plan) -> list[str]:
    """Return what all runs take together."""
    num_runs = sum(method.num_runs for method in plan.methods)
    num_done = sum(method.num_done for method in plan.methods)
    if num_done == num_runs:
        return [f"{count(num_runs, 'run')}, all done"]
    together = "one after the other" if plan.num_processes == 1 else f"{plan.num_processes} at a time"
    threads = count(plan.threads, "thread")
    low, high = map(describe_seconds, plan.seconds_range)
    lines = [
        f"{count(num_runs, 'run')}, {num_done} done, {num_runs - num_done} to do: about "
        f"{describe_seconds(plan.seconds)} ({low} to {high}), {together} with {threads} each "
        f"({plan.run_seconds / 3600:.2f} hours of runs)"
    ]
    if plan.flops is not None:
        lines.append(f"FLOPs: {plan.flops / 1e12:,.3g} TFLOPs")
    if plan.process_memory is not None:
        total = plan.num_processes * plan.process_memory
        lines.append(f"memory: {size(plan.process_memory)} for a process, {size(total)} for all")
    lines.append(f"disk: {size(plan.disk)}, and up to {size(plan.checkpoint_disk)} for checkpoints meanwhile")
    if any(method.source == "timed steps" for method in plan.methods):
        lines.append(
            "timed steps: no stage ended in time, so all are taken to need the usual number of epochs; a "
            "longer --calibration, or a finished run, tells more"
        )
    return lines


def size(num_bytes: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} TiB"

"""What each stage of a board costs and gains, beside a table of whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pages import table

from plastibench.analysis.stats.estimate import paired_difference, percent
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.store.record import Record

OLD_ACCURACY = "old_accuracy.accuracy.{}"
"""Column of a stage, by the moment of the measurement."""
MOMENTS = ("arrival", "stage_start", "epoch_1")


def stage_table(setting: ResultTable, increments: Sequence[str]) -> str:
    """Return a Markdown table of the stages after the first: gains, FLOPs, and accuracy on old data.

    `increments` names these stages. FLOPs are those of the stage, divided by the cost reference's: they match
    it if the method's mean accuracy after the stage is at least the reference's.
    """
    reference = next((row for row in setting.rows if row.method == setting.cost_reference), None)
    if reference is None or not reference.metrics:
        return ""
    header = ["method"]
    for increment in increments:
        header += [f"{increment}: gain over {reference.method}", f"{increment}: FLOPs to match it"]
    header += [f"old data with {increments[0]}: on arrival, when it has acted, one epoch later"]
    rows = [
        [f"`{row.method}`", *_cells(row, reference, len(increments)), _old(row)]
        for row in setting.rows
        if row.metrics and row is not reference
    ]
    return table(header, rows)


def _cells(row: ResultRow, reference: ResultRow, number: int) -> list[str]:
    cells = []
    for stage in range(1, number + 1):
        others = {run.seed: run.accuracies[stage] for run in reference.metrics}
        pairs = [(run.accuracies[stage], others[run.seed]) for run in row.metrics if run.seed in others]
        gain = paired_difference([one for one, _ in pairs], [other for _, other in pairs])
        share = _flops(row, stage) / _flops(reference, stage)
        cells += [gain.interval_text(), f"{share:.2f}" if gain.mean >= 0 else f"not matched for {share:.2f}"]
    return cells


def _flops(row: ResultRow, stage: int) -> float:
    """Return the mean FLOPs of a stage, the method's own included."""
    stages = [record.stages[stage] for record in _finished(row)]
    return fmean(one["train_flops"] + one["remedy_flops"] for one in stages)


def _old(row: ResultRow) -> str:
    """Return the accuracy on old data around the first increment, in percent."""
    stages = [record.stages[1] for record in _finished(row)]
    columns = [OLD_ACCURACY.format(moment) for moment in MOMENTS]
    if any(column not in stage for column in columns for stage in stages):
        return "not measured"
    return ", ".join(percent(100 * fmean(stage[column] for stage in stages)) for column in columns)


def _finished(row: ResultRow) -> list[Record]:
    return [record for record in row.records if record.status == "done"]

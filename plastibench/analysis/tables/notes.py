"""The notes below a result table: what its columns mean, and what its number of seeds can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastibench.analysis.stats.significance import (
    ALPHA,
    NONINFERIORITY_MARGIN,
    min_p_value,
    min_seeds,
)
from plastibench.analysis.tables.text_table import hardware_note
from plastibench.errors import count, joined
from plastibench.experiments.seeds import seed_ranges
from plastibench.store.verifications import VERDICTS

if TYPE_CHECKING:
    from plastibench.analysis.tables.table import ResultTable


def table_notes(table: ResultTable, columns: Sequence[str]) -> list[str]:
    """Return the notes on the columns of a table."""
    if any(name.startswith("paper_") for name in columns):
        spread = "mean (population standard deviation) over n seeds, as in arXiv 2410.23495"
    else:
        spread = "mean +- sample standard deviation over n seeds"
    notes = [f"accuracy: on the test set, after the last stage or averaged over stages; {spread}"]
    notes += _seeds_note(table)
    if {"gain_over_baseline", "gain_over_cost_reference"} & set(columns):
        notes.append(
            "gain: difference in average accuracy in percentage points, paired by seed, with a 95 % interval"
        )
        notes += _significance_notes(table)
    if "noninferior_to_cost_reference" in columns:
        notes.append(
            f"noninferior: the average accuracy is less than {NONINFERIORITY_MARGIN} points below that of "
            f"{table.cost_reference} by a one-sided t test (p Holm-corrected)"
        )
    notes.append(
        "costs: of a whole run, averaged over seeds; passes: examples taken forward and backward, "
        "in training (SAM's second pass counted) and by the remedy"
    )
    notes += hardware_note(table.hardware)
    if any(name.startswith("relative_") for name in columns):
        notes.append(f"relative: divided by the cost of {table.cost_reference}")
    if "cost_to_match" in columns and not table.same_test:
        notes.append(
            f"no cost to match {table.cost_reference}: {_difference_of_tests(table)}, so the accuracies of "
            "two stages cannot be compared"
        )
    elif "cost_to_match" in columns:
        notes.append(
            f"cost to match: passes until the mean accuracy reaches the last one of {table.cost_reference}, "
            f"divided by the passes of {table.cost_reference}"
        )
    return [
        *notes,
        *(
            ["tuning: of all trials of the study that chose a row's settings; a run's own cost comes on top"]
            if any(name.startswith("tuning_") for name in columns)
            else ()
        ),
        *(_verification_notes(table) if "verified" in columns else ()),
        *_provenance_notes(table, "recipe_changes", "{method} is trained with {text}"),
        *_provenance_notes(table, "model_changes", "{method} has a model of its own, of {text}"),
        *_provenance_notes(table, "untouched", "{method} leaves {text}"),
    ]


def _seeds_note(table: ResultTable) -> list[str]:
    """Return which rows have which seeds if they differ: their means are not of the same seeds then."""
    methods: dict[tuple[int, ...], list[str]] = {}
    for row in table.rows:
        if row.seeds:
            methods.setdefault(tuple(row.seeds), []).append(row.method)
    if len(methods) < 2:
        return []
    rows = "; ".join(f"{joined(names)}: {seed_ranges(seeds)}" for seeds, names in methods.items())
    return [
        f"rows have different seeds ({rows}): accuracies and costs are means over a row's own seeds, gains "
        "over those that both methods have"
    ]


def _difference_of_tests(table: ResultTable) -> str:
    if any(record.spec.shifts_targets for row in table.rows for record in row.records):
        return "what is to be learned changes between stages"
    return "the number of test examples differs from stage to stage"


def _verification_notes(table: ResultTable) -> list[str]:
    """Return when and where runs were repeated, and which."""
    runs: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for seed, mark in row.marks.items():
            runs.setdefault((VERDICTS[mark.verdict], mark.text), []).append(f"{row.method} seed {seed}")
    return [f"{verdict} on {where}: {', '.join(names)}" for (verdict, where), names in sorted(runs.items())]


def _provenance_notes(table: ResultTable, name: str, sentence: str) -> list[str]:
    """Return a sentence for each method whose runs have a text in a field of their provenance.

    `recipe_changes` are the settings of the recipe that a method changes, `model_changes` the size of its own
    model, `untouched` the parameters of the model that it leaves out unasked.
    """
    texts = {(row.method, record.provenance.get(name)) for row in table.rows for record in row.records}
    return sorted(sentence.format(method=method, text=text) for method, text in texts if text is not None)


def _significance_notes(table: ResultTable) -> list[str]:
    notes = []
    for reference in table.references:
        n = [row.gains[reference].estimate.n for row in table.rows if reference in row.gains]
        if n:
            notes.append(significance_note(max(n), len(n), reference))
    return notes


def significance_note(
    n: int | None, comparisons: int, reference: str | None = None, test: str = "the exact sign-flip test"
) -> str:
    """Return what bold stands for, or that n paired seeds cannot show anything; None is unpaired."""
    family = count(comparisons, "comparison") + (f" with {reference}" if reference else "")
    if n is not None and min_p_value(n) * comparisons >= ALPHA:
        return (
            f"n = {n}: no difference can reach p < {ALPHA} after correction for {family}; "
            f"that takes at least {min_seeds(comparisons)} seeds"
        )
    return f"bold: p < {ALPHA} by {test}, Holm-corrected for {family}"

"""Write what the published boards say into results/README.md, from the records in results/records.

python docs/boards.py [--check]   write the page, or fail if it is not current
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from across_boards import disagreements, gains_table
from answers import answers
from board_rows import ROOT, board_tables, find_row, regime_text
from data_sets import data_sets_text
from page_script import write_or_check
from stage_table import stage_table
from tuned_rows import tuned_text

from plastibench.analysis.stats.significance import ALPHA, min_p_value
from plastibench.analysis.tables.table import Gain, ResultRow, ResultTable
from plastibench.errors import count, joined

PAGE = ROOT / "results" / "README.md"
TOLD: Mapping[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""What is said beside the numbers."""
BOARDS: Mapping[str, Mapping[str, Any]] = TOLD["boards"]
MARKED = re.compile(r"(<!-- boards -->\n).*?(<!-- /boards -->)", re.DOTALL)
WIDTH = 150
"""Of a line of text."""
MOST_NAMED = 8
"""Rows that a sentence names; of more it says how many there are."""


def page() -> str:
    """Return the text of results/README.md with the paragraphs of the boards."""
    paragraphs = [text for board in BOARDS for text in board_paragraphs(board, board_tables(board))]
    together = data_sets_text(TOLD["same_question"], TOLD["data_sets"])
    texts = [TOLD["in_short"], _in_short(), *_gains(), *paragraphs, *together, *disagreements(BOARDS, TOLD)]
    text = "\n\n".join(map(_wrapped, texts))
    return MARKED.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text(encoding="utf-8"))


def _in_short() -> str:
    """Return the answers as a list in Markdown."""
    return "\n".join(_filled(f"- {text}", "  ") for text in answers(TOLD["answers"]))


def _gains() -> Iterator[str]:
    """Yield the gains on all boards whose settings are the published ones, after what their marks mean."""
    if text := gains_table(board for board in BOARDS if "untuned" not in BOARDS[board]):
        yield TOLD["all_boards"]
        yield text


def _wrapped(text: str) -> str:
    """Return a paragraph in lines, and a table or a list as it is."""
    if text.startswith(("|", "- ")):
        return text.strip()
    return _filled(" ".join(text.split()))


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def board_paragraphs(board: str, tables: Sequence[ResultTable]) -> Iterator[str]:
    """Return what is separated, what it costs and what does nothing in each table, and how far it goes."""
    for setting in tables:
        regime = f", {regime_text(setting)}" if len(tables) > 1 else ""
        files = f"[table]({board}.md), [page]({board}.html), [records](records/{board}.jsonl.xz)"
        yield f"**{BOARDS[board]['name']}{regime}** ({files}). {_separated(setting)}"
        if max(len(row.metrics) for row in setting.rows) > 1:
            yield f"{_costs(setting)} {_not_separated(setting)}"
        untuned = BOARDS[board].get("untuned")
        if text := tuned_text(setting, untuned and (untuned, board_tables(untuned))):
            yield text
        if "increments" in BOARDS[board]:
            yield stage_table(setting, BOARDS[board]["increments"])
    if tables:
        yield BOARDS[board]["limits"]


def _separated(setting: ResultTable) -> str:
    """Return which gains over warm and over cold start have intervals without 0."""
    numbers = [len(row.metrics) for row in setting.rows]
    fewest = f"{min(numbers)} to " if min(numbers) < max(numbers) else ""
    rows, seeds = count(len(setting.rows), "row"), count(max(numbers), "seed")
    parts = [f"{rows} of {fewest}{seeds}, {_time(sum(map(_seconds, setting.rows)))} of one core."]
    if max(numbers) == 1:
        return f"{parts[0]} One seed has no intervals."
    separated = False
    for reference in setting.references:
        above = _gains_of(setting, reference, lambda gain: gain.estimate.low > 0)
        below = _gains_of(setting, reference, lambda gain: gain.estimate.high < 0)
        separated = separated or bool(above or below)
        parts.append(f"Above {reference} start, with intervals without 0: {_listed(above)}.")
        parts.append(f"Below it: {_listed(below)}.")
    if not separated:
        references = " or ".join(setting.references)
        return f"{parts[0]} No interval of a difference from {references} start excludes 0."
    return " ".join([*parts, _corrected(setting, max(numbers))])


def _corrected(setting: ResultTable, seeds: int) -> str:
    """Return which differences are significant once they are corrected for the number of comparisons."""
    compared = len(setting.rows) - 1
    supported = {
        reference: [
            f"`{row.method}`"
            for row in setting.rows
            if reference in row.gains and row.gains[reference].p < ALPHA
        ]
        for reference in setting.references
    }
    if any(supported.values()):
        which = "decided"
    else:
        which = "undecided" if min_p_value(seeds) * compared < ALPHA else "undecidable"
    return " ".join(TOLD[which].split()).format(
        seeds=count(seeds, "seed"),
        compared=count(compared, "comparison"),
        smallest=f"{min_p_value(seeds):.2g}",
        chance=f"{ALPHA * compared:.1f}",
        supported="; ".join(
            f"from {name} start {joined(rows) or 'none'}" for name, rows in supported.items()
        ),
    )


def _time(seconds: float) -> str:
    """Return a duration in hours, or in minutes if it is shorter than one."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else count(max(1, round(seconds / 60)), "minute")


def _seconds(row: ResultRow) -> float:
    return sum(run.cost["seconds"] or 0 for run in row.metrics)


def _gains_of(
    setting: ResultTable, reference: str, chosen: Callable[[Gain], bool]
) -> list[tuple[float, str]]:
    found = [(row, row.gains[reference]) for row in setting.rows if reference in row.gains]
    return [
        (gain.estimate.mean, f"`{row.method}` {gain.estimate.interval_text()}")
        for row, gain in found
        if gain.estimate.n > 1 and chosen(gain)
    ]


def _listed(gains: Iterable[tuple[float, str]]) -> str:
    """Return the largest of some gains or losses, and how many more there are."""
    ordered = [text for _, text in sorted(gains, key=lambda gain: -abs(gain[0]))]
    more = len(ordered) - MOST_NAMED
    return ", ".join(ordered[:MOST_NAMED]) + (f", and {more} more" if more > 0 else "") or "none"


def _costs(setting: ResultTable) -> str:
    """Return what the best rows take."""
    best = sorted(
        (row for row in setting.rows if row.gain is not None and row.gain.low > 0),
        key=lambda row: -row.average.mean,
    )[:MOST_NAMED]
    costs = [f"`{row.method}` {row.relative_cost['passes']:.2f}" for row in best]
    warm = find_row(setting, setting.baseline or "")
    first = "" if warm is None else f": {setting.baseline} start {warm.relative_cost['passes']:.2f}"
    above = f"; above it {joined(costs)}" if costs else ""
    text = f"Passes, as a factor of {setting.cost_reference} start's{first}{above}."
    return text + _stopped(setting)


def _stopped(setting: ResultTable) -> str:
    """Return which methods end most stages by a limit and not by the target, if others do not."""
    late = [row for row in setting.rows if _share_stopped(row) > 0.5]
    names = [f"`{row.method}`" for row in late]
    return (
        f" A limit of steps ended most stages of {joined(names)}."
        if 0 < len(late) < len(setting.rows)
        else ""
    )


def _share_stopped(row: ResultRow) -> float:
    stops: list[str] = [stage["stop"] for record in row.records for stage in record.stages]
    return sum(stop != "target_accuracy" for stop in stops) / len(stops)


def _not_separated(setting: ResultTable) -> str:
    """Return the remedies that cannot be told from warm start, and those that left its weights alone."""
    others = [(row.method, row) for row in setting.rows if row.gain is not None]
    same = [name for name, row in others if row.num_unchanged == len(row.metrics)]
    gains = {
        name: row.gain.interval_text()
        for name, row in others
        if row.gain and row.gain.low <= 0 <= row.gain.high and name not in same
    }
    famous = [f"`{name}` {gains[name]}" for name in TOLD["famous"] if name in gains]
    more = [count(len(gains) - len(famous), "other row")] if len(gains) > len(famous) else []
    text = f"Not to be told from {setting.baseline} start: {joined([*famous, *more]) or 'none'}."
    if same:
        never = joined([f"`{name}`" for name in same])
        text += (
            f" The weights of {setting.baseline} start in every run, so they changed nothing here: {never}."
        )
    return text


if __name__ == "__main__":
    write_or_check(PAGE, page, __doc__, "make results")

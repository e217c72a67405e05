"""Tables, numbers and pictures on pages are those of the published results."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

import pytest
from support.commands import command

ROOT = Path(__file__).parents[2]


def table_rows(text: str) -> list[dict[str, str]]:
    lines = [line.strip("|\n").split("|") for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("page", "result", "columns", "methods"),
    [
        ("README.md", "quickstart", 5, 7),
        ("docs/tutorials/read_a_table.md", "field-cpu", 13, 4),
        ("docs/continue_or_restart.md", "sota-cpu", 5, 5),
    ],
)
def test_tables_on_pages_are_parts_of_published_ones(
    page: str, result: str, columns: int, methods: int
) -> None:
    """Bold aside: it depends on how many rows are compared."""
    published = table_rows((ROOT / f"results/{result}.md").read_text(encoding="utf-8").replace("**", ""))
    text = (ROOT / page).read_text(encoding="utf-8").split(f"<!-- {result} -->")[1].split("<!--")[0]
    shown = table_rows(text.replace("**", ""))
    assert len(shown) == methods
    assert len(shown[0]) == columns
    named = [row for row in published if row["method"] in {part["method"] for part in shown}]
    assert [{name: row[name] for name in part} for row, part in zip(named, shown, strict=True)] == shown


def test_the_table_that_is_explained_has_the_bold_numbers_that_its_command_prints() -> None:
    page = (ROOT / "docs/tutorials/read_a_table.md").read_text(encoding="utf-8")
    (methods,) = re.findall(r"--method (\S+)", page)
    records = ROOT / "results/records/field-cpu.jsonl.xz"
    printed = command("table", "--records", records, "--format", "md", "--method", methods).out
    for line in page.split("<!-- field-cpu -->")[1].split("<!--")[0].splitlines():
        assert line.removesuffix("|") in printed


CONTINUE = "docs/continue_or_restart.md"


@pytest.mark.parametrize(
    ("page", "board", "method", "number"),
    [
        (
            "README.md",
            "field-cpu",
            "cold",
            "cold) gains {gain:.1f} points over going on (warm) for {times:.1f}",
        ),
        ("README.md", "field-cpu", "dash", "DASH gains {gain:.1f} for {times:.1f} times"),
        (
            "docs/idea.md",
            "field-cpu",
            "cold",
            "Cold start is {gain:.1f} points above warm start for {times:.1f}",
        ),
        ("docs/idea.md", "field-cpu", "dash", "DASH {gain:.1f} points for {times:.1f} times"),
        (CONTINUE, "field-cpu", "cold", "in four stages continuing is {gain:.1f} points behind"),
        (
            CONTINUE,
            "field-cpu",
            "dash",
            "DASH is {over:+.2f} points from restarting [{low:+.2f}, {high:+.2f}]",
        ),
        (CONTINUE, "field-cpu", "shrink_perturb", "Shrink & Perturb {over:+.2f} [{low:+.2f}, {high:+.2f}]"),
        (CONTINUE, "field-cpu", "shrink_perturb:dash_2024", "it is {over:+.2f} [{low:+.2f}, {high:+.2f}]"),
        (CONTINUE, "increments-cpu", "warm", "level with restarting ({over:+.2f} [{low:+.2f}, {high:+.2f}])"),
        (CONTINUE, "sota-cpu", "warm", "continuing is {over:.1f} points ahead of restarting"),
        (CONTINUE, "claims-cpu", "warm", "restarting is {over:.1f} points behind continuing"),
    ],
)
def test_numbers_in_sentences_are_those_of_the_published_board(
    page: str, board: str, method: str, number: str
) -> None:
    """Of a board of several regimes the last one counts, that of discarded data."""
    with (ROOT / f"results/{board}.csv").open(encoding="utf-8") as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}
    row = rows[method]
    over, low, high = (
        float(row[f"gain_over_cost_reference_{part}"] or "nan") for part in ("mean", "low", "high")
    )
    gain = float(row["gain_over_baseline_mean"] or "nan")
    times = float(row["passes"]) / float(rows["warm"]["passes"])
    expected = number.format(gain=gain, times=times, over=over, low=low, high=high)
    assert expected in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_pictures_were_drawn_from_the_published_results() -> None:
    pictures = sorted((ROOT / "docs/pictures").glob("*.svg"))
    assert len(pictures) >= 3
    for picture in pictures:
        text = picture.read_text(encoding="utf-8")
        (note,) = re.findall(r"<desc>from (.*)</desc>", text)
        for source in note.split(", "):
            name, digest = re.fullmatch(r"(\S+) \((\w+)\)", source).groups()  # type: ignore[union-attr]
            assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest()[:16] == digest, picture.name
        assert len(text) < 60_000
        assert "prefers-color-scheme:dark" in text

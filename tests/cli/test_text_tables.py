"""Tables as text: what fits a terminal, what a file gets, and what is said once."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from support.commands import command
from support.reports import a_home, some_runs

from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.cli.main import cli
from plastibench.cli.text_tables import print_tables

HEADER = ["method", "n", "average accuracy %", "gain over warm", "cost to match cold", "seconds"]
LONG = "some_remedy[strength=0.5,interval=1000,which=all_hidden_units,code=0123456789abcdef]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_table(
    title: str = "a setting", name: str = "a_rather_long_method", notes: tuple[str, ...] = ()
) -> TextTable:
    cells = ["3", "96.70 +- 0.40", "+0.74 [-0.55, +2.03]", "never", "1,234.5"]
    rows = [
        [Cell(method), *(Cell(text, text.startswith("+")) for text in cells)] for method in ("warm", name)
    ]
    return TextTable(title, HEADER, rows, list(notes))


def on_terminal(monkeypatch: pytest.MonkeyPatch, *tables: TextTable, columns: int = 80) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stdout(Terminal()) as out:
        print_tables(tables)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).splitlines()


def in_file(*tables: TextTable) -> list[str]:
    with redirect_stdout(io.StringIO()) as out:
        print_tables(tables)
    return out.getvalue().splitlines()


def test_columns_that_do_not_fit_follow_below_with_the_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, a_table(), columns=60)
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith("a_rather_long_method ") for line in lines) == 2
    words = " ".join(" ".join(lines).split())
    assert all(cell in words for cell in ("+0.74 [-0.55, +2.03]", "never", "1,234.5"))


def test_a_long_name_is_folded_and_no_number_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, a_table(name=LONG, notes=("word " * 60,)))
    assert max(map(len, lines)) <= 80
    assert "+0.74 [-0.55, +2.03]" in "\n".join(lines)
    assert LONG[:16] in "\n".join(lines)
    notes = [line for line in lines if "word" in line]
    assert [line.startswith("  ") for line in notes] == [False, True, True, True]


def test_a_name_is_folded_if_the_columns_fit_beside_it_then(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, a_table(name=LONG))
    assert sum(line.startswith("warm ") for line in lines) == 1, "one part"
    assert max(map(len, lines)) <= 80
    assert LONG[:20] in "\n".join(lines)


def test_listings_are_wrapped_beside_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    in_one_line = command("list", "methods").out.splitlines()
    monkeypatch.setattr("sys.stdout", out := Terminal())
    with pytest.raises(SystemExit):
        cli(["list", "methods"])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 60 < max(map(len, in_one_line))
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(in_one_line).split())


def test_a_file_gets_one_line_for_each_row_and_note() -> None:
    note = "bold: p < 0.05, and " + "much more " * 40
    lines = in_file(a_table(name=LONG, notes=(note,)))
    assert [line.split()[0] for line in lines if line] == [
        "a",
        "method",
        lines[3].split()[0],
        "warm",
        LONG,
        "*:",
    ]
    assert lines[2].split("  ")[0] == "method"
    assert lines[-1] == f"*{note[4:]}".rstrip()
    assert "*+0.74 [-0.55, +2.03]" in lines[-3], "what is bold on a terminal has a star"


def test_what_all_tables_say_is_said_once() -> None:
    both = [a_table("one", notes=("shared", "first alone")), a_table("two", notes=("shared", "second alone"))]
    other = TextTable("over 2 settings", ["method"], [], ["of its own"])
    lines = [
        line
        for line in in_file(*both, other)
        if line in ("one", "two") or "alone" in line or line == "shared"
    ]
    assert lines == ["one", "first alone", "two", "shared", "second alone"]


def test_a_table_has_few_columns_as_text_and_all_with_wide_and_for_other_programs(tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(2))

    def heading(*words: str) -> str:
        return next(
            line for line in command("table", "--home", home, *words).out.splitlines() if "method" in line
        )

    assert "gain over warm" in heading()
    assert "TFLOPs" not in heading()
    for words in (("--wide",), ("--style", "wide"), ("--format", "md"), ("--format", "latex")):
        assert "TFLOPs" in heading(*words), words
    assert "evaluation TFLOPs" in heading("--style", "full")
    assert "seconds" in heading("--columns", "seconds")
    settings = "mine: strength=1"
    assert settings not in command("table", "--home", home).out
    assert settings in command("table", "--home", home, "--wide").out
    refused = command("table", "--home", home, "--wide", "--style", "full")
    assert (refused.status, refused.lines()) == (
        2,
        ["plastibench: --wide and --style full cannot be given together"],
    )


def test_a_comparison_has_few_columns_unless_wide(tmp_path: Path) -> None:
    home = a_home(tmp_path, some_runs(2))
    assert "B seconds" not in command("compare", home, home).out
    assert "B - A average" in command("compare", home, home).out
    assert "B seconds" in command("compare", home, home, "--wide").out

"""Pictures: the same bytes from the same runs, one mark a method, nothing from outside."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_support import child
from report_support import HOSTILE, a_run, some_runs

from plastibench.errors import RequestError
from plastibench.figures import FORMATS, parse_formats, pictures, save
from plastibench.figures.across import places
from plastibench.figures.look import COLOURS, drawn, inline, marks
from plastibench.figures.series import diagnostics, over_stages, pareto
from plastibench.registry import Registry
from plastibench.tables import tables

TWO = [*some_runs(), *some_runs(task="other_task")]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def digests() -> list[str]:
    """Draw one picture of each kind of axis in every format."""
    found = list(pictures(tables(TWO, "warm")))
    return [
        hashlib.sha256(drawn(picture, form)).hexdigest()
        for picture in (found[0], found[2], found[-2])
        for form in FORMATS
    ]


def test_two_processes_draw_the_same_bytes() -> None:
    done = child(
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import test_figures; print(*test_figures.digests())",
        str(Path(__file__).parent),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == digests() == digests()


def test_a_method_looks_the_same_beside_any_others() -> None:
    assert marks(["warm", "mine"])["warm"] == marks(["warm", "cold", "dash", "other"])["warm"]


def test_no_two_methods_look_the_same() -> None:
    many = [*Registry().names("method"), *(f"mine_{i}" for i in range(25))]
    assert len(set(marks(many).values())) == len(many)


@pytest.mark.parametrize("paper", ["#ffffff", "#14171b"])
def test_every_colour_stands_out_on_light_and_on_dark(paper: str) -> None:
    for colour in COLOURS:
        light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2.9, colour


def test_a_picture_in_a_page_is_whole_and_takes_the_colours_of_the_page() -> None:
    for picture in pictures(tables([*TWO, a_run(HOSTILE, 0), a_run("_hidden", 0)], "warm")):
        text = inline(picture)
        ElementTree.fromstring(text)
        assert "#1b1f24" not in text
        assert "var(--ink)" in text
        assert "<script" not in text
        ids = re.findall(r'\bid="([^"]*)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', text)) <= set(ids)


def test_a_name_is_shown_as_it_is_written() -> None:
    stages = next(p for p in pictures(tables([a_run("_a$b$", 0)], None)) if p.name.endswith("stages"))
    assert "_a$b$" in inline(stages)


def test_the_front_holds_what_nothing_beats() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0), (0.5, 1.0)]
    assert pareto(points) == [(0.5, 1.0), (1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]


def test_ranks_are_shared_by_equals_and_need_the_method_everywhere() -> None:
    found = tables([*some_runs(), a_run("lonely", 0), *some_runs(task="other_task")], "warm")
    assert set(places(found)) == {"warm", "cold", "mine"}
    same = replace(
        found[0], rows=tuple(replace(row, average=found[0].rows[0].average) for row in found[0].rows)
    )
    assert {tuple(ranks) for ranks in places([same, same]).values()} == {(2.0, 2.0)}


def test_a_stage_is_averaged_over_the_finished_runs_that_have_it() -> None:
    lost = replace(a_run("warm", 9), status="diverged")
    (table,) = tables([a_run("warm", 0), a_run("warm", 1), lost], None)
    found = over_stages(table.rows[0], "train_loss")
    assert [(stage, estimate.n) for stage, estimate in found] == [(0, 2), (1, 2), (2, 2)]
    values = [a_run("warm", seed).stages[1]["train_loss"] for seed in (0, 1)]
    assert found[1][1].mean == pytest.approx(sum(values) / 2)
    assert diagnostics(table.rows) == ["epochs", "train_loss"]


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    assert parse_formats("pdf, svg,pdf") == ("pdf", "svg")
    with pytest.raises(RequestError, match="did you mean 'png'"):
        parse_formats("svg,pngg")
    with pytest.raises(RequestError, match="names no figure format"):
        parse_formats(" ,")


def test_every_picture_is_a_file_in_every_format(tmp_path: Path) -> None:
    files = save(tables(some_runs(1), "warm"), tmp_path / "new", ("svg", "png"))
    assert len(files) == len(set(files)) == 2 * 4
    assert all(file.read_bytes().startswith((b"<?xml", b"\x89PNG")) for file in files)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"figures cannot be written to .*file"):
        save(tables(TWO, "warm"), tmp_path / "file" / "figures", ("svg",))

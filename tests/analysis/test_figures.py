"""Pictures: the same bytes from the same runs, one mark a method, nothing from outside."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.commands import child
from support.reports import HOSTILE, a_run, some_runs

from plastibench.analysis.figures.aggregate import common_scores, missing_figures
from plastibench.analysis.figures.per_setting import diagnostics, pareto_front, stage_estimates
from plastibench.analysis.figures.probes import panels, points
from plastibench.analysis.figures.render import (
    FORMATS,
    all_figures,
    inline_svg,
    parse_formats,
    render,
    save_figures,
)
from plastibench.analysis.report.page import render_page
from plastibench.analysis.stats.ranks import rank
from plastibench.analysis.tables.accuracy_curve import accuracy_curve
from plastibench.analysis.tables.table import build_tables
from plastibench.errors import RequestError
from plastibench.experiments.spec import Part
from plastibench.store.record import Record

TWO = [*some_runs(), *some_runs(task="other_task")]

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from analysis.test_figures import digests
print(*digests())
"""


def digests() -> list[str]:
    """Draw every kind of picture, in turn in every format, by day and by night, and a page of a setting."""
    found = build_tables(TWO, "warm")
    first = [p for p in all_figures(found) if not p.name.startswith("setting-2")]
    ways = [*((form, False) for form in FORMATS), ("svg", True)]
    drawings = [
        render(figure, form, dark=night) for figure, (form, night) in zip(first, cycle(ways), strict=False)
    ]
    return [hashlib.sha256(data).hexdigest() for data in (*drawings, render_page(found[:1], "x").encode())]


@pytest.mark.heavy
def test_two_processes_draw_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    # The hashes of this process are random, or those of another number.
    monkeypatch.setenv("PYTHONHASHSEED", "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1")
    done = child("-c", PROGRAM, str(Path(__file__).parents[1]))
    assert done.returncode == 0, done.stderr
    answer, ours = done.stdout.split(), digests()
    assert len(answer) == len(set(answer)) == 9 + 1
    assert answer == ours


@pytest.mark.heavy
def test_a_figure_in_a_page_is_complete_and_has_the_colors_of_the_page() -> None:
    for figure in all_figures(build_tables([*TWO, a_run(HOSTILE, 0), a_run("_hidden", 0)], "warm")):
        text = inline_svg(figure)
        ElementTree.fromstring(text)
        assert "#1b1f24" not in text
        assert "var(--ink)" in text
        assert "<script" not in text
        ids = re.findall(r'\bid="([^"]*)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', text)) <= set(ids)


@pytest.mark.heavy
def test_a_method_name_adds_no_style_or_id_to_a_figure() -> None:
    bad = ' style="}body{display:none" id="main" d="M0 0"'
    found = build_tables([*some_runs(2), a_run(bad, 0), a_run(bad + "2", 0)], "warm")
    for figure in all_figures(found):
        style = "".join(re.findall(r"<style[^>]*>(.*?)</style>", inline_svg(figure), re.DOTALL))
        assert "body" not in style
        ids = [element.get("id") for element in ElementTree.fromstring(inline_svg(figure)).iter()]
        assert "main" not in ids


def test_gains_over_both_references_are_drawn_and_filled_where_the_test_supports_them() -> None:
    found = build_tables(some_runs(), "warm", "cold")
    assert [figure.title for figure in all_figures(found)][:2] == ["Gain over warm", "Gain over cold"]
    for level, filled in ((0.01, True), (0.9, False)):
        rows = tuple(
            replace(row, gains={name: replace(gain, p=level) for name, gain in row.gains.items()})
            for row in found[0].rows
        )
        text = render(next(all_figures([replace(found[0], rows=rows)])), "svg").decode()
        paper = 1  # behind all
        assert (text.count("fill: #ffffff") == paper) == filled


def test_dark_figures_have_the_colors_for_a_dark_background() -> None:
    figure = next(all_figures(build_tables(TWO, "warm")))
    day, night = (render(figure, "svg", dark=dark).decode() for dark in (False, True))
    assert "#1b1f24" in day
    assert "#e8eaed" not in day
    assert "#e8eaed" in night
    assert "#1b1f24" not in night


def test_a_figure_over_settings_is_drawn_or_its_absence_is_explained() -> None:
    names = [figure.name for figure in all_figures(build_tables(TWO, "warm"))]
    assert names[-4:] == [f"settings-{what}" for what in ("gains", "profiles", "improvement", "ranks")]
    assert missing_figures(build_tables(TWO, "warm")) == []
    apart = build_tables([*some_runs(), *some_runs(methods=["warm"], task="other_task")], "warm")
    (reason,) = missing_figures(apart)
    assert reason.startswith("No performance profiles and no probabilities of improvement")
    strangers = build_tables(
        [*some_runs(methods=["mine"]), *some_runs(methods=["warm"], task="other")], "warm"
    )
    assert [figure.name for figure in all_figures(strangers) if figure.name.startswith("settings")] == []
    assert "No ranks: " in missing_figures(strangers)[1]
    other_data = build_tables(
        [*some_runs(), *(run.with_provenance(data="fed") for run in some_runs())], "warm"
    )
    (mixed,) = missing_figures(other_data)
    assert (
        "runs with more than one data set under one setting (0123456789ab, fed) are never averaged" in mixed
    )
    assert common_scores(other_data) == {}
    (alone,) = missing_figures(build_tables(some_runs(), "warm"))
    assert alone.startswith("There is only one setting")


@pytest.mark.parametrize(("settings", "said"), [(2, "Descriptive only: Friedman"), (6, "Friedman")])
def test_the_caption_of_ranks_has_the_result_of_friedmans_test(settings: int, said: str) -> None:
    runs = [run for number in range(settings) for run in some_runs(task=f"task_{number}")]
    ranks = list(all_figures(build_tables(runs, "warm")))[-1]
    assert said in ranks.caption
    assert ("Descriptive" in ranks.caption) == (settings == 2)
    assert render(ranks, "svg")


def test_the_cost_axis_adds_up_passes_stage_by_stage() -> None:
    (table,) = build_tables(some_runs(2, stages=4), "warm")
    points = accuracy_curve(table.rows[0].metrics)
    assert [spent for spent, _ in points] == [6400.0 * stage for stage in (1, 2, 3, 4)]
    last = [100 * run.stages[-1]["test_accuracy"] for run in table.rows[0].records]
    assert points[-1][1] == pytest.approx(sum(last) / 2)


def test_the_pareto_front_has_the_points_that_no_other_beats() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0), (0.5, 1.0)]
    assert pareto_front(points) == [(0.5, 1.0), (1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]


def test_ranks_are_shared_by_equals_and_need_the_method_everywhere() -> None:
    found = build_tables([*some_runs(), a_run("lonely", 0), *some_runs(task="other_task")], "warm")
    assert set(common_scores(found)) == {"warm", "cold", "mine"}
    ranks = rank({"a": [1.0, 2.0], "b": [1.0, 5.0], "c": [0.0, 2.0]})
    assert ranks == {"a": [1.5, 2.5], "b": [1.5, 1.0], "c": [3.0, 2.5]}


def test_a_stage_is_averaged_over_the_finished_runs_that_have_it() -> None:
    lost = replace(a_run("warm", 9), status="diverged")
    (table,) = build_tables([a_run("warm", 0), a_run("warm", 1), lost], None)
    found = stage_estimates(table.rows[0], "train_loss")
    assert [(stage, estimate.n) for stage, estimate in found] == [(0, 2), (1, 2), (2, 2)]
    values = [a_run("warm", seed).stages[1]["train_loss"] for seed in (0, 1)]
    assert found[1][1].mean == pytest.approx(sum(values) / 2)
    assert diagnostics(table.rows) == ["epochs", "train_loss"]


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    assert parse_formats("pdf, svg,pdf") == ("pdf", "svg")
    with pytest.raises(RequestError, match="did you mean 'png'"):
        parse_formats("svg,pngg")
    with pytest.raises(RequestError, match="holds no figure format"):
        parse_formats(" ,")


@pytest.mark.heavy
def test_every_figure_is_a_file_in_every_format(tmp_path: Path) -> None:
    files = save_figures(build_tables(some_runs(1), "warm"), tmp_path / "new", ("svg", "png"))
    assert len(files) == len(set(files)) == 2 * 5
    assert all(file.read_bytes().startswith((b"<?xml", b"\x89PNG")) for file in files)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"figures in .*file.* cannot be written"):
        save_figures(build_tables(TWO, "warm"), tmp_path / "file" / "figures")


def probed_runs() -> list[Record]:
    """Return runs with a probe of one moment, and one of several, which has no value in the first stage."""
    units = {
        "a.x": "meters",
        "b.y.stage_end": "",
        "b.y.epoch_2": "",
        "b.y.arrival": "",
        "b.y.stage_start": "",
    }
    probes = (Part("a", {}, "0"), Part("b", {}, "0"))
    found = []
    for record in some_runs(methods=("warm", "cold")):
        rows = [
            {
                **row,
                "a.x": 2.0 * row["index"] + record.spec.seed,
                "a.x[fc]": 1.0,
                **{
                    f"b.y.{m}": (0.5 if row["index"] else None)
                    for m in ("arrival", "stage_start", "stage_end")
                },
                "b.y.epoch_2": None,
                "probe_seconds": 1.0,
            }
            for row in record.stages
        ]
        spec = replace(record.spec, probes=probes)
        found.append(replace(record, spec=spec, stages=rows).with_provenance(units=units))
    return found


def test_probes_have_a_figure_of_their_own_with_a_panel_for_each_measurement() -> None:
    """In the order of time, although the record keeps columns by their names."""
    (table,) = build_tables(probed_runs(), "warm")
    found = panels(record for row in table.rows for record in row.records)
    assert [(panel.probe, panel.measurement, panel.unit) for panel in found] == [
        ("a", "x", "meters"),
        ("b", "y", ""),
    ]
    moments = [column.rpartition(".")[2] for column in found[1].columns]
    assert moments == ["arrival", "stage_start", "epoch_2", "stage_end"]
    warm = next(row for row in table.rows if row.method == "warm")
    assert points(warm, found[0]) == [(1.0, 1.0), (2.0, 3.0), (3.0, 5.0)], "the mean over seeds"
    assert str(points(warm, found[1])[3:6]) == "[(1.0, nan), (1.25, 0.5), (1.5, 0.5)]"
    assert diagnostics(table.rows) == ["epochs", "train_loss"]
    figure = next(f for f in all_figures([table]) if f.name == "setting-1-probes")
    text = render(figure, "svg", text_as_paths=False).decode()
    for label in ("meters", "no unit", "stage", "warm", "cold"):
        assert f">{label}<" in text, label
    assert "setting-1-probes" in {f.name for f in all_figures([table])}
    assert "setting-1-probes" not in {f.name for f in all_figures(build_tables(some_runs(), "warm"))}


def test_a_table_takes_the_run_with_probes_of_two_that_are_the_same() -> None:
    probed = probed_runs()
    plain = [replace(record, spec=record.spec.without_probes()) for record in probed]
    for records in ([*probed, *plain], [*plain, *probed]):
        (table,) = build_tables(records, "warm")
        assert all(record.spec.probes for row in table.rows for record in row.records)

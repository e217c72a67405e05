"""Methods look the same in every figure, can be told apart, and names have room."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from colorspacious import cspace_convert
from matplotlib import rc_context
from support.reports import a_run, some_runs

from plastibench.analysis.figures.render import (
    all_figures,
    inline_svg,
)
from plastibench.analysis.figures.style import COLORS, OTHERS, STYLE, method_styles
from plastibench.analysis.tables.table import build_tables
from plastibench.plugins.registry import Registry


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_method_has_the_same_style_in_every_figure() -> None:
    assert method_styles(["warm", "mine"])["warm"] == method_styles(["warm", "cold", "dash", "other"])["warm"]


def test_no_two_methods_look_the_same() -> None:
    many = [*Registry().names("method"), *(f"mine_{i}" for i in range(25))]
    assert len(set(method_styles(many).values())) == len(many)


def test_methods_of_one_color_differ_in_their_marker_and_their_dash() -> None:
    looks = list(method_styles([f"mine_{number:02}" for number in range(25)]).values())
    for one, other in combinations(looks, 2):
        if one.color == other.color:
            assert one.marker != other.marker
            assert one.dash != other.dash


@pytest.mark.parametrize("kind", [None, "deuteranomaly", "protanomaly", "tritanomaly"])
def test_any_two_colors_differ_enough_for_color_blind_readers_too(kind: str | None) -> None:
    """Ten in CAM02-UCS is far: what is just told apart differs by one."""
    colors = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in COLORS])
    if kind is not None:
        eye = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
        colors = np.clip(cspace_convert(colors, eye, "sRGB1"), 0, 1)
    for one, other in combinations(cspace_convert(colors, "sRGB1", "CAM02-UCS"), 2):
        assert np.linalg.norm(one - other) > 15


@pytest.mark.parametrize("paper", ["#ffffff", "#14171b"])
def test_every_color_stands_out_on_light_and_on_dark(paper: str) -> None:
    for color in (*COLORS, OTHERS):
        light, dark = sorted((luminance(color), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2.9, color


def test_a_name_is_shown_as_it_is_written() -> None:
    figures = all_figures(build_tables([a_run("_a$b$", 0)], None))
    stages = next(figure for figure in figures if figure.name.endswith("stages"))
    assert "_a$b$" in inline_svg(stages)


@pytest.mark.heavy
@pytest.mark.parametrize(("num_methods", "letters"), [(42, 24), (16, 40), (2, 300)])
def test_names_overlap_nothing_and_leave_room_for_the_plot(num_methods: int, letters: int) -> None:
    names = [f"{place:02}{('gradient_' * 40)[: letters - 2]}" for place in range(num_methods)]
    figures = {
        figure.title: figure for figure in all_figures(build_tables(some_runs(2, ["warm", *names]), "warm"))
    }
    settings: Any = STYLE
    for title in ("Gain over warm", "Accuracy against cost"):
        with warnings.catch_warnings(), rc_context(settings):
            warnings.simplefilter("error")  # of matplotlib, if names take the whole width
            figure = figures[title].draw()
            figure.draw_without_rendering()
        (axes,) = figure.axes
        whole, plot = figure.bbox, axes.get_window_extent()
        assert plot.width > 0.3 * whole.width
        assert plot.height > 0.7 * figure.dpi
        legends = [text for legend in figure.legends for text in legend.get_texts()]
        shown = legends or axes.get_yticklabels()
        boxes = [text.get_window_extent() for text in shown]
        assert len(boxes) == (num_methods + bool(legends) if num_methods < 15 or not legends else 12 + 1)
        assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 for box in boxes)
        assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_of_many_methods_references_front_and_best_are_named_and_the_others_gray() -> None:
    names = [f"mine_{place:02}" for place in range(18)]
    (table,) = build_tables(some_runs(2, ["warm", "cold", *names]), "warm", "cold")
    averages = {row.method: row.average.mean for row in table.rows}
    last = min(names, key=lambda name: averages[name])
    cheap = [
        replace(row, cost={**row.cost, "passes": 1.0}) if row.method == last else row for row in table.rows
    ]
    figures = {figure.title: figure for figure in all_figures([replace(table, rows=tuple(cheap))])}
    settings: Any = STYLE
    for title in ("Test accuracy over stages", "Accuracy against cost", "Accuracy against cost so far"):
        with rc_context(settings):
            figure = figures[title].draw()
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts[0] == "8 others"
        assert len(texts) == 1 + 12
        assert {"warm", "cold", last, max(names, key=lambda name: averages[name])} <= set(texts)
        assert "Gray: all but 12 methods" in figures[title].caption
    with rc_context(settings):
        (axes,) = figures["Test accuracy over stages"].draw().axes
    assert [line.get_color() for line in axes.lines].count("#8c939c") == 8
    few = list(all_figures(build_tables(some_runs(2, ["warm", *names[:14]]), "warm")))
    assert not [figure for figure in few if "Gray" in figure.caption]

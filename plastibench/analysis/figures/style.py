"""The style of figures: one color, marker and dash per method, readable on light and dark backgrounds."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plastibench.plugins.registry import Registry

COLORS = ("#077691", "#c10076", "#8c9d05", "#cd747c", "#9811e3", "#8e5727", "#29a3b4", "#b86dff")
"""Found by a search: at least 15.7 apart in CAM02-UCS, also for color-blind eyes (Machado 2009), and with a
contrast of 3 on white and on black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
INK, PAPER, GRID = "#1b1f24", "#ffffff", "#c9ced6"
DARK = {INK: "#e8eaed", PAPER: "#14171b", GRID: "#3b424c"}
"""The same colors on a dark background."""
WIDTH = 4.6
"""Inches: two columns of most papers, and readable on a phone without scrolling."""
PLOT_WIDTH, LETTER = 2.4, 0.083
"""Inches that a plot needs beside the names of methods, and of a letter of a name."""
LEGEND_SIZE = 9.0
"""Points."""
LONGEST = 48
"""Letters of a name that a figure shows."""
MANY = 15
"""Methods that a figure with a legend can tell apart. Of more, some are gray, and there are no bands."""
NAMED = 12
"""Methods of a figure of more than MANY that have a color and a name in the legend."""
OTHERS = "#8c939c"
"""The gray of the others, with a contrast of 3 on white and on black."""
HIDDEN = "_"
"""A label that matplotlib leaves out of legends."""
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a method's name is not a formula
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class FigureSpec:
    """A figure that can be drawn, with its caption."""

    name: str
    """Of its file, without the suffix."""
    title: str
    caption: str
    """What is shown, and what bars and bands are."""
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class MethodStyle:
    """The color, marker and dash of a method."""

    color: str
    marker: str
    dash: Any
    label: str | None = None
    """In the legend, instead of the method's name."""

    @property
    def is_named(self) -> bool:
        """Return whether the method has a color of its own and its name in the legend."""
        return self.label is None

    def line(self, method: str) -> dict[str, Any]:
        """Return the arguments of a line with a label in the legend."""
        line = {"color": self.color, "linestyle": self.dash, "label": self.legend_label(method)}
        return {**line, "marker": self.marker} if self.is_named else {**line, "alpha": 0.5}

    def legend_label(self, method: str) -> str:
        """Return what the legend says of a method, HIDDEN if nothing."""
        return visible(method) if self.label is None else self.label


@cache
def _shipped_methods() -> tuple[str, ...]:
    return tuple(Registry().names("method"))


def method_styles(labels: Sequence[str]) -> dict[str, MethodStyle]:
    """Return the style of each method: a shipped method has the same one in every figure.

    Other methods, and further variants of a shipped one, come after all shipped methods.
    """
    places = {name: place for place, name in enumerate(_shipped_methods())}
    others = sorted({label for label in labels if label not in places})
    places |= {label: len(places) + place for place, label in enumerate(others)}
    return {label: _style(places[label]) for label in labels}


def emphasized(styles: Mapping[str, MethodStyle], order: Iterable[str]) -> dict[str, MethodStyle]:
    """Return the styles of the methods of a figure with a legend, those to be drawn first at the beginning.

    `order` has the methods that matter most at its beginning. Of more than MANY, all but NAMED are gray, and
    the legend has one entry for them.
    """
    methods = list(dict.fromkeys(order))
    if len(methods) <= MANY:
        return {method: styles[method] for method in styles if method in methods}
    named, others = set(methods[:NAMED]), methods[NAMED:]
    label = f"{len(others)} others"
    gray = {
        method: MethodStyle(OTHERS, ".", "-", HIDDEN if place else label)
        for place, method in enumerate(others)
    }
    return gray | {method: styles[method] for method in styles if method in named}


def gray_note(num_methods: int) -> str:
    """Return a sentence on the gray methods of a figure with a legend, after a space; "" if there is none."""
    if num_methods <= MANY:
        return ""
    return f" Gray: all but {NAMED} methods, the references and the best; the table has the numbers of all."


def _style(place: int) -> MethodStyle:
    lap, color = divmod(place, len(COLORS))
    return MethodStyle(COLORS[color], MARKERS[(place + lap) % len(MARKERS)], DASHES[lap % len(DASHES)])


def visible(label: str) -> str:
    """Return a label that matplotlib shows: it hides those that begin with an underscore.

    The middle of one that would leave no room for the plot is left out.
    """
    if len(label) > LONGEST:
        label = f"{label[: LONGEST // 2]}...{label[3 - LONGEST // 2 :]}"
    return f"\u200b{label}" if label.startswith("_") else label


def new_figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return an empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def method_figure(methods: Sequence[str]) -> tuple[Figure, Axes]:
    """Return an empty figure with a line for each method, wide enough for the names beside the plot."""
    longest = max((len(visible(method)) for method in methods), default=0)
    return new_figure(0.8 + 0.25 * len(methods), max(WIDTH, PLOT_WIDTH + LETTER * longest))


def legend_figure(styles: Mapping[str, MethodStyle]) -> tuple[Figure, Axes]:
    """Return an empty figure with room for a legend of these methods below."""
    return new_figure(3.0 + legend_height(styles))


def use_method_axis(axes: Axes, methods: Sequence[str]) -> None:
    """Name methods along the vertical axis, from the bottom up."""
    axes.set_yticks(range(len(methods)), map(visible, methods))
    axes.set_ylim(-0.6, len(methods) - 0.4)
    axes.grid(visible=False, axis="y")


def ink() -> str:
    """Return the color of text and of reference lines, on the current background."""
    return str(rcParams["text.color"])


def add_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below: there is no room beside the plot on a phone."""
    handles, names = axes.get_legend_handles_labels()
    columns = _legend_columns(names)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=LEGEND_SIZE)


def legend_height(styles: Mapping[str, MethodStyle]) -> float:
    """Return the height of a legend of these methods in inches."""
    labels = [look.legend_label(method) for method, look in styles.items()]
    shown = [label for label in labels if label != HIDDEN]
    return 0.19 * math.ceil(len(shown) / _legend_columns(shown))


def _legend_columns(names: Sequence[str]) -> int:
    longest = max(map(len, names), default=1)
    return max(1, min(3, int(WIDTH * 72 / (38 + 5.4 * longest))))

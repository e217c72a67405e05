"""How pictures look: one color and one marker a method, readable on light and dark, no date inside."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLORS = (
    "#077691",
    "#c10076",
    "#8c9d05",
    "#cd747c",
    "#9811e3",
    "#8e5727",
    "#29a3b4",
    "#b86dff",
)
"""As far apart as a search found: 15.7 in CAM02-UCS between any two, also where one kind of cone is missing
(Machado 2009), with a contrast of 3 on white and on black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
INK, PAPER, GRID = "#1b1f24", "#ffffff", "#c9ced6"
NIGHT = {INK: "#e8eaed", PAPER: "#14171b", GRID: "#3b424c"}
WIDTH = 4.6
"""Inches of a picture: read without scrolling on a telephone, and two columns' width of most papers."""

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a method's name is no formula
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "svg.hashsalt": "plastibench",
    "pdf.fonttype": 42,
    "lines.markersize": 5,
}
PLAIN_METADATA = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Picture:
    """Something that can be drawn, with what it says in words."""

    name: str
    """Of its file, without the ending."""
    title: str
    caption: str
    """What is shown and how it was summed up: no picture is without n and what its bars mean."""
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Mark:
    """What a method is recognized by."""

    color: str
    marker: str
    dash: Any


@lru_cache(maxsize=1)
def _known() -> tuple[str, ...]:
    from plastibench.plugins.registry import Registry

    return tuple(Registry().names("method"))


def marks(labels: Sequence[str]) -> dict[str, Mark]:
    """Return the mark of each method: by its name's place among all methods there are, not in a plot.

    Names that are not shipped come behind, and so does all but the first variant of one name.
    """
    wanted = dict.fromkeys(labels)
    places = {name: place for place, name in enumerate(_known())}
    strangers = sorted(label for label in wanted if label not in places)
    places |= {label: len(places) + place for place, label in enumerate(strangers)}
    return {label: _mark(places[label]) for label in wanted}


def _mark(place: int) -> Mark:
    lap = place // len(COLORS)
    return Mark(COLORS[place % len(COLORS)], MARKERS[(place + lap) % len(MARKERS)], DASHES[lap % len(DASHES)])


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty picture in inches, to be filled inside `drawn`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def ink() -> str:
    """Return the color of what is no method's, by day or by night."""
    return str(rcParams["text.color"])


def columns(names: Sequence[str]) -> int:
    """Return how many columns of a legend with these names fit beside one another."""
    return max(1, min(3, int(WIDTH * 72 / (38 + 5.4 * max(map(len, names), default=1)))))


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below: beside the plot there is no room on a telephone."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns(names), fontsize=9)


def by_stage(axes: Axes) -> None:
    """Let the horizontal axis count stages: there is none between two."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def room(names: Sequence[str]) -> float:
    """Return the height in inches that their legend takes."""
    return 0.19 * math.ceil(len(names) / columns(names))


def drawn(picture: Picture, form: str, *, night: bool = False, text_as_paths: bool = True) -> bytes:
    """Return a picture as the bytes of a file; the same picture gives the same bytes."""
    out = io.BytesIO()
    style: Any = {**STYLE, "svg.fonttype": "path" if text_as_paths else "none"}
    if night:
        style = {
            name: NIGHT.get(value, value) if isinstance(value, str) else value
            for name, value in style.items()
        }
    with rc_context(style):
        picture.draw().savefig(out, format=form, dpi=200, metadata=PLAIN_METADATA[form])
    return out.getvalue()


def inline(picture: Picture) -> str:
    """Return a picture as an <svg> element that takes the page's colors, small, with ids of its own."""
    text = drawn(picture, "svg", text_as_paths=False).decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # What a method is called must not pass for an attribute.
    text = re.sub(r">[^<]*<", lambda found: found[0].replace('"', "&quot;"), text)
    for color, name in ((INK, "ink"), (PAPER, "paper"), (GRID, "grid")):
        text = text.replace(color, f"var(--{name})")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    text = re.sub(r' (d|x|y|transform|points)="[^"]*"', _rounded, text)
    text = re.sub(r"font(-family)?: ([0-9.]+px )?'DejaVu Sans'[^;\"]*", _font, text)
    short = re.sub(r"([a-z]{2})[a-z]+", r"\1", picture.name)
    text = _without_plain_groups(_with_own_ids(_with_classes(text, short), short))
    head = re.match(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', text)
    assert head is not None
    width = float(head[1].split()[2])
    size = f"min-width: {0.9 * width:.0f}px; max-width: {1.5 * width:.0f}px"
    opening = f'<svg viewBox="{head[1]}" aria-hidden="true" style="{size}">'
    return re.sub(r"\n\s*", "\n", opening + text[head.end() :]).strip()


def _rounded(found: re.Match[str]) -> str:
    """Leave out what is smaller than a tenth of a point, and spaces that part nothing."""
    return re.sub(r"\s*([A-Z])\s*", r"\1", re.sub(r"(\.\d)\d+", r"\1", found[0]).rstrip()).replace(' "', '"')


def _with_classes(text: str, prefix: str) -> str:
    """Say each style once: a picture of twenty methods has the same few on a thousand marks."""
    styles = Counter(re.findall(r' style="([^"]*)"', text))
    names = {style: f"{prefix}-{place}" for place, style in enumerate(styles) if styles[style] > 1}
    text = re.sub(
        r' style="([^"]*)"',
        lambda found: f' class="{names[found[1]]}"' if found[1] in names else found[0],
        text,
    )
    rules = "".join(f".{name}{{{style}}}\n" for style, name in names.items())
    return text.replace("<defs>", f"<style>{rules}</style>\n<defs>", 1)


def _with_own_ids(text: str, prefix: str) -> str:
    """Leave out ids that nothing refers to, and tell the others from those of other pictures."""
    wanted = dict.fromkeys(re.findall(r'(?:url\(#|xlink:href="#)([^")]*)', text))
    names = {known: f"{prefix}_{place}" for place, known in enumerate(wanted)}
    text = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", text
    )
    text = re.sub(r'xlink:href="#([^"]*)"', lambda found: f'href="#{names[found[1]]}"', text)
    return re.sub(r"url\(#([^)]*)\)", lambda found: f"url(#{names[found[1]]})", text)


def _without_plain_groups(text: str) -> str:
    """Leave out groups that say nothing about what is in them."""
    kept: list[bool] = []
    parts = re.split(r"(<g>|<g [^>]*>|</g>)", text)
    for place, part in enumerate(parts):
        if part.startswith("<g"):
            kept.append(part != "<g>")
        # A group closes as it was opened.
        if (part.startswith("<g") and not kept[-1]) or (part == "</g>" and not kept.pop()):
            parts[place] = ""
    return re.sub(r"\n\s*\n+", "\n", "".join(parts))


def _font(found: re.Match[str]) -> str:
    return f"font: {found[2]}var(--font)" if found[2] else "font-family: var(--font)"

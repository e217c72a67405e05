"""Draw a graph without cycles as SVG: a floor for each step down, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import fmean

Arrow = tuple[str, str]
FLOOR, BOX, GAP, SWEEPS = 58, 28, 18, 12
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#fff;text-anchor:middle;dominant-baseline:central}"
    "rect{fill:#2f5f8f}path{fill:none;stroke:#8a919c;stroke-width:1.5}"
)


@dataclass(frozen=True)
class Place:
    """A box, or a bend of an arrow that passes a floor."""

    name: str
    floor: int
    end: str = ""
    """The box that the arrow leads to, if it is a bend."""

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return GAP if self.end else 9 * len(self.name) + 24


def floors(arrows: Iterable[Arrow]) -> dict[str, int]:
    """Return how many steps down it is from each name, at most."""
    below: dict[str, list[str]] = {}
    for upper, lower in arrows:
        below.setdefault(upper, []).append(lower)

    @cache
    def floor(name: str) -> int:
        return max((1 + floor(lower) for lower in below.get(name, ())), default=0)

    return {name: floor(name) for arrow in arrows for name in arrow}


def paths(arrows: Iterable[Arrow], levels: Mapping[str, int]) -> list[list[Place]]:
    """Return the places of each arrow, from its upper to its lower box."""
    found = []
    for upper, lower in arrows:
        bends = [Place(upper, level, lower) for level in range(levels[upper] - 1, levels[lower], -1)]
        found.append([Place(upper, levels[upper]), *bends, Place(lower, levels[lower])])
    return found


def rows(ways: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """Return the places of each floor from left to right, the top floor first, with few crossings."""
    neighbors: dict[Place, list[Place]] = {}
    for way in ways:
        for one, other in pairwise(way):
            neighbors.setdefault(one, []).append(other)
            neighbors.setdefault(other, []).append(one)
    by_floor: dict[int, list[Place]] = {}
    for place in sorted(neighbors, key=lambda place: (place.name, place.end)):
        by_floor.setdefault(place.floor, []).append(place)
    order = [by_floor[floor] for floor in sorted(by_floor, reverse=True)]
    for sweep in range(SWEEPS):
        middles = _middles(order)
        for row in order[:: 1 if sweep % 2 else -1]:
            row.sort(key=lambda place: fmean(middles[other] for other in neighbors[place]))
            middles |= _middles([row])
    return order


def _middles(order: Iterable[Sequence[Place]]) -> dict[Place, float]:
    """Return the middle of each place, from the middle of the picture, each row centered."""
    found = {}
    for row in order:
        left = -(sum(place.width for place in row) + GAP * (len(row) - 1)) / 2
        for place in row:
            found[place] = left + place.width / 2
            left += place.width + GAP
    return found


def svg(arrows: Sequence[Arrow], title: str) -> str:
    """Return the picture of a graph as the text of an SVG file."""
    ways = paths(arrows, floors(arrows))
    order = rows(ways)
    middles = _middles(order)
    half = max(abs(middle) + place.width / 2 for place, middle in middles.items()) + GAP
    top = max(place.floor for place in middles)
    at = {
        place: (half + middle, (top - place.floor) * FLOOR + FLOOR / 2) for place, middle in middles.items()
    }
    lines = [_curve([at[place] for place in way]) for way in ways]
    boxes = [_box(place, *at[place]) for row in order for place in row if not place.end]
    size = f"{2 * half:.0f} {(top + 1) * FLOOR}"
    width, height = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{width}" height="{height}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        + "".join(f"{element}\n" for element in (*lines, *boxes))
        + "</svg>\n"
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    (x, y), *rest = points
    steps = [f"M{x:.0f} {y:.0f}"]
    for end_x, end_y in rest:
        middle = (y + end_y) / 2
        steps.append(f"C{x:.0f} {middle:.0f} {end_x:.0f} {middle:.0f} {end_x:.0f} {end_y:.0f}")
        x, y = end_x, end_y
    return f'<path d="{" ".join(steps)}"/>'


def _box(place: Place, x: float, y: float) -> str:
    corner = f'x="{x - place.width / 2:.0f}" y="{y - BOX / 2:.0f}"'
    return (
        f'<rect {corner} width="{place.width}" height="{BOX}" rx="5"/>'
        f'<text x="{x:.0f}" y="{y:.0f}">{place.name}</text>'
    )

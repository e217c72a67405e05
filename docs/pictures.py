"""Draw the pictures of README and docs from published results, into docs/pictures/.

python docs/pictures.py [--check]   draw them, or fail if a result has changed since one was drawn
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from matplotlib.figure import Figure

from plastibench.analysis.figures import style
from plastibench.analysis.figures.aggregate import aggregate_figures
from plastibench.analysis.figures.render import inline_svg
from plastibench.analysis.figures.style import DARK, GRID, INK, PAPER, FigureSpec
from plastibench.workflows.request import Selection
from plastibench.workflows.table import table

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "pictures"
COLORS = ";".join(f"--{name}:{{{name}}}" for name in ("ink", "paper", "grid"))
FONT = "--font:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
PAPER_METHODS = ("warm", "cold", "shrink_perturb", "dash", "l2_init", "head_reset", "warm_reset_momentum")
"""Those of Table 1 of the DASH paper."""
MOST_GAINS = 6
"""Rows with the largest gains that a picture has beside them."""
CHUNK = 1000
"""Images that arrive with each stage."""
LABELS = {"sp": "shrink_perturb"}
"""Names in the comparison with the reference code that are not those of methods."""


class Picture(NamedTuple):
    """A picture and the files that its numbers are from."""

    name: str
    title: str
    sources: Sequence[str]
    """Relative to the root of the project."""
    draw: Callable[..., Figure]
    """Given the path of each source."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw every picture, or check what they were drawn from."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    for picture in PICTURES:
        path = FOLDER / f"{picture.name}.svg"
        if not check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(drawn(picture), encoding="utf-8")
        elif not path.is_file() or source_note(picture) not in path.read_text(encoding="utf-8"):
            sys.exit(f"{path} was not drawn from {source_note(picture)[5:]}: run python docs/pictures.py")


def drawn(picture: Picture) -> str:
    """Return the file of a picture, readable on light and dark pages."""
    figure = FigureSpec(picture.name, picture.title, "", partial(picture.draw, *_paths(picture)))
    element = inline_svg(figure)
    head, _, body = element.partition(">")
    light = COLORS.format(ink=INK, paper=PAPER, grid=GRID)
    dark = COLORS.format(ink=DARK[INK], paper=DARK[PAPER], grid=DARK[GRID])
    sheet = f"svg{{{light};{FONT}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    head = head.replace(' aria-hidden="true"', ' role="img" xmlns:xlink="http://www.w3.org/1999/xlink"')
    about = f"<title>{picture.title}</title><desc>{source_note(picture)}</desc><style>{sheet}</style>"
    return f'{head} xmlns="http://www.w3.org/2000/svg">{about}{body}\n'


def source_note(picture: Picture) -> str:
    """Return what a picture says of its numbers: the files and their digests."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in _paths(picture)]
    named = zip(picture.sources, digests, strict=True)
    return f"from {', '.join(f'{source} ({digest})' for source, digest in named)}"


def _paths(picture: Picture) -> list[Path]:
    return [ROOT / source for source in picture.sources]


def draw_gains_and_passes(source: Path) -> Figure:
    """Draw what each method gains over warm start, and the passes that it takes, from a table in CSV."""
    with source.open(encoding="utf-8") as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}
    warm = float(rows["warm"]["passes"])
    gained = sorted(rows, key=lambda name: float(rows[name]["gain_over_baseline_mean"] or 0))
    order = [name for name in gained if name in (*PAPER_METHODS, *gained[-MOST_GAINS:])]
    styles = style.method_styles(order)
    figure = Figure(figsize=(6.6, 0.9 + 0.27 * len(order)), layout="constrained")
    gains, costs = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    gains.axvline(0, color=style.ink(), linewidth=1)
    for height, name in enumerate(order):
        row, look = rows[name], styles[name]
        times = float(row["passes"]) / warm
        costs.barh(height, times, height=0.5, color=look.color)
        costs.text(times + 0.06, height, f"{times:.1f}", va="center", fontsize=9)
        if row["gain_over_baseline_mean"]:
            low, middle, high = (float(row[f"gain_over_baseline_{end}"]) for end in ("low", "mean", "high"))
            bounds = [[middle - low], [high - middle]]
            gains.errorbar(middle, height, xerr=bounds, fmt=look.marker, color=look.color, capsize=3)
    style.use_method_axis(gains, order)
    gains.set_xlabel("points of accuracy above warm start")
    costs.grid(visible=False)
    costs.set(xlabel="passes, warm start = 1", xlim=(0, 6.2))
    return figure


def draw_stages(source: Path) -> Figure:
    """Draw the accuracy after each stage, one line for each method and one dot for each seed."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[LABELS.get(row["method"], row["method"])][(row["stage"] + 1) * CHUNK].append(
            100 * row["test_accuracy"]
        )
    styles = style.method_styles(list(found))
    figure, axes = style.new_figure(2.9, 6.6)
    for name, stages in found.items():
        look, sizes = styles[name], list(stages)
        for size in sizes:
            axes.plot([size] * len(stages[size]), stages[size], ".", color=look.color, alpha=0.35)
        means = [mean(stages[size]) for size in sizes]
        axes.plot(sizes, means, linewidth=1.6, **look.line(name))
        others = [mean(other[sizes[-1]]) for other in found.values() if other is not stages]
        side = "bottom" if any(0 < means[-1] - other < 2 for other in others) else "center"
        side = "top" if any(0 < other - means[-1] < 2 for other in others) else side
        axes.text(sizes[-1] + 45, means[-1], name, va=side, color=look.color, weight="bold")
    axes.set(xlabel="images that have arrived", ylabel="test accuracy, %", xlim=(900, 3700))
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    return figure


def draw_ranks(*records: Path) -> Figure:
    """Draw the rank of each row of several boards on each of them, as their report does."""
    tables = table(Selection(records=records)).tables
    methods = [row.method for row in tables[0].rows]
    ranks = next(figure for figure in aggregate_figures(tables, methods) if figure.name == "settings-ranks")
    return ranks.draw()


PICTURES = (
    Picture(
        "gain-and-cost",
        "Ways to retrain: accuracy gained over warm start, and passes",
        ["results/field-cpu.csv"],
        draw_gains_and_passes,
    ),
    Picture(
        "stages",
        "Accuracy as data arrive: cold start, warm start and two remedies",
        ["results/reference/cifar10-resnet18-sgd-ours.jsonl"],
        draw_stages,
    ),
    Picture(
        "ranks",
        "Ranks of every remedy by average accuracy, on CIFAR-10 and on Tiny-ImageNet",
        ["results/records/field-cpu.jsonl.xz", "results/records/field-tiny-cpu.jsonl.xz"],
        draw_ranks,
    ),
)

if __name__ == "__main__":
    main()

"""The figure of the feature-learning framework: three panels over the stages."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from plastibench.analysis.figures import style
from plastibench.analysis.figures.style import FigureSpec, MethodStyle
from plastibench.analysis.tables.theory_table import Results

PANELS = (
    ("accuracy", "test accuracy, %"),
    ("features", "learned features"),
    ("active", "points with a gradient"),
)
LINE_WIDTHS = (3.0, 1.4, 1.2)
"""The first line is wide: it can be seen behind one that covers it."""
SIZE = (9.0, 3.0)
"""Width and height in inches."""


def theory_figure(results: Results) -> FigureSpec:
    """Return the figure, as figure 3 of the DASH paper (arXiv 2410.23495) has it."""
    return FigureSpec(
        "theory",
        "Feature learning",
        "Lines: mean over seeds. Bands: one sample standard deviation above and below; none if n = 1.",
        partial(_draw, results),
    )


def _draw(results: Results) -> Figure:
    figure = Figure(figsize=SIZE, layout="constrained")
    panels = list(figure.subplots(1, len(PANELS)).flat)
    styles = style.method_styles([start.label for start in results])
    for axes, (name, label) in zip(panels, PANELS, strict=True):
        for place, (start, curves) in enumerate(results.items()):
            _plot(axes, getattr(curves, name), start.label, styles[start.label], LINE_WIDTHS[place])
        axes.set(xlabel="stage", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    panels[-1].yaxis.set_major_formatter(EngFormatter(sep=""))
    style.add_legend(figure, panels[0])
    return figure


def _plot(axes: Axes, values: NDArray[Any], label: str, line: MethodStyle, width: float) -> None:
    """Draw the mean over seeds, and the band around it, of values (seeds, stages)."""
    stages = np.arange(1, values.shape[1] + 1)
    mean = values.mean(axis=0)
    axes.plot(stages, mean, markevery=max(1, len(stages) // 8), linewidth=width, **line.line(label))
    if len(values) > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(stages, mean - sd, mean + sd, color=line.color, alpha=0.13, linewidth=0)

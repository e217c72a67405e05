"""The feature-learning framework of the DASH paper: simulate it, and draw its figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from plastibench.analysis.figures.render import parse_formats, render
from plastibench.analysis.figures.theory import theory_figure
from plastibench.errors import writing
from plastibench.system.files import write_atomic
from plastibench.theory.experiment import Curves, FeatureLearning, simulate
from plastibench.theory.framework import Initialization


def theory(
    settings: FeatureLearning, seeds: Sequence[int], figure: Path | None = None
) -> Mapping[Initialization, Curves]:
    """Return the curves of each initialization, and draw them into `figure` if it is given.

    Raises RequestError for a figure whose suffix is none of svg, pdf and png, or that cannot be written.
    """
    format = "" if figure is None else parse_formats(figure.suffix.removeprefix(".") or figure.name)[0]
    results = simulate(settings, seeds)
    if figure is not None:
        with writing(f"figure {figure}"):
            figure.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(figure, render(theory_figure(results), format))
    return results

"""Estimates, intervals and tests over seeds and tasks: small functions on scipy and numpy."""

from plastibench.analysis.stats.bootstrap import (
    CONFIDENCE,
    REPEATS,
    bootstrap,
    bootstrap_improvement,
    iqm,
    repeats_for,
)
from plastibench.analysis.stats.estimate import (
    ENOUGH,
    Estimate,
    differences,
    mean,
    paired,
    population_sd,
    unpaired,
)
from plastibench.analysis.stats.profiles import probability_of_improvement, profile
from plastibench.analysis.stats.ranks import Ranks, ranks
from plastibench.analysis.stats.significance import (
    LEVEL,
    above_margin,
    equivalent,
    fewest_seeds,
    holm,
    not_worse,
    p_text,
    sign_flip,
    sign_flips,
    smallest_p,
    wilcoxon,
)

__all__ = [
    "CONFIDENCE",
    "ENOUGH",
    "LEVEL",
    "REPEATS",
    "Estimate",
    "Ranks",
    "above_margin",
    "bootstrap",
    "bootstrap_improvement",
    "differences",
    "equivalent",
    "fewest_seeds",
    "holm",
    "iqm",
    "mean",
    "not_worse",
    "p_text",
    "paired",
    "population_sd",
    "probability_of_improvement",
    "profile",
    "ranks",
    "repeats_for",
    "sign_flip",
    "sign_flips",
    "smallest_p",
    "unpaired",
    "wilcoxon",
]

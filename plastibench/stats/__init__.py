"""Estimates, intervals and tests over seeds and tasks: small functions on scipy and numpy."""

from plastibench.stats.bootstrap import bootstrap, iqm
from plastibench.stats.estimate import CONFIDENCE, ENOUGH, Estimate, mean, paired, population_sd, unpaired
from plastibench.stats.profiles import probability_of_improvement, profile
from plastibench.stats.ranks import Ranks, ranks
from plastibench.stats.significance import (
    LEVEL,
    equivalent,
    fewest_seeds,
    holm,
    not_worse,
    sign_flip,
    smallest_p,
    wilcoxon,
)

__all__ = [
    "CONFIDENCE",
    "ENOUGH",
    "LEVEL",
    "Estimate",
    "Ranks",
    "bootstrap",
    "equivalent",
    "fewest_seeds",
    "holm",
    "iqm",
    "mean",
    "not_worse",
    "paired",
    "population_sd",
    "probability_of_improvement",
    "profile",
    "ranks",
    "sign_flip",
    "smallest_p",
    "unpaired",
    "wilcoxon",
]

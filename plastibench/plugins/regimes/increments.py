"""A large base, then small increments."""

from __future__ import annotations

from dataclasses import dataclass, field

from plastibench.errors import RequestError, count
from plastibench.plugins.fields import setting
from plastibench.plugins.regime import Overlay, Regime
from plastibench.plugins.regimes.accumulate import Accumulate


@dataclass(frozen=True, kw_only=True)
class Increments(Overlay):
    """Start with a base, to which chunks of given sizes are added: what retraining in practice looks like.

    `increments=9` is the start on a tenth of the data of Lee et al. 2024 (arXiv 2406.02596) and Han et al.
    2026 (arXiv 2602.08040), `increments=1` is that of Ash & Adams 2020 (arXiv 1910.08475).
    """

    base: Regime = field(default=Accumulate())
    increments: tuple[float, ...] = setting((0.002, 0.01, 0.1), within=(0.0, None))
    """Size of each later chunk, as a fraction of the first one."""

    def num_stages(self, stages: int | None) -> int:
        """Return the number of increments and one. Raises RequestError for another number."""
        number = 1 + len(self.increments)
        if not self.increments or stages not in (None, number):
            raise RequestError(
                f"stages={stages or 1} is not allowed: a base and {count(len(self.increments), 'increment')} "
                f"are {count(number, 'stage')}, and at least 2 are needed"
            )
        return self.base.num_stages(number)

    def chunk_sizes(self, num_examples: int, num_chunks: int) -> list[int]:
        """Return the rounded size of each chunk; the base has the examples that are left."""
        share = num_examples / (1 + sum(self.increments))
        sizes = [round(share * increment) for increment in self.increments]
        base = num_examples - sum(sizes)
        if min(sizes) < 1 or base < 2:
            raise RequestError(
                f"increments={','.join(f'{each:g}' for each in self.increments)} is not allowed: of "
                f"{num_examples} training examples there would be none in a chunk"
            )
        return [base, *sizes]

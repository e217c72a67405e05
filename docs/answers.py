"""What the published boards say in short: sentences that hold, with numbers from the records."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

from board_rows import board_places, find_row

from plastibench.analysis.tables.table import ResultTable

GAIN = re.compile(r"\{([+0-])([\w-]+)(?:/(\S+?))?\|(\S+?)\|(\w+)\}")
"""A gain and what the sentence takes it for: {+BOARD|METHOD|REFERENCE}, or BOARD/REGIME if it has several.

+ and - stand for an interval above and below 0, 0 for one that includes it.
"""


class NotSoError(ValueError):
    """A gain is not on the side of 0 on which a sentence has it, or there is no such row."""


def answers(sentences: Iterable[str]) -> Iterator[str]:
    """Yield sentences with their gains filled in; one that does not hold is left out, and said on stderr."""
    for sentence in sentences:
        try:
            yield GAIN.sub(_gain, " ".join(sentence.split()))
        except NotSoError as error:
            print(f"left out, write it anew: {error}", file=sys.stderr)


def _gain(found: re.Match[str]) -> str:
    sign, board, regime, method, reference = found.groups()
    row = find_row(_setting(board, regime), method)
    if row is None or reference not in row.gains:
        raise NotSoError(f"{found[0]}: there is no such row")
    gain = row.gains[reference].estimate
    side = "+" if gain.low > 0 else "-" if gain.high < 0 else "0"
    if side != sign:
        raise NotSoError(f"{found[0]}: it is {gain.interval_text()}")
    return gain.interval_text()


def _setting(board: str, regime: str | None) -> ResultTable:
    for name, setting in board_places(board):
        if regime is None or name.endswith(f"`regime={regime}`"):
            return setting
    raise NotSoError(f"no board {board} of regime {regime}")

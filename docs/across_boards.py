"""What the published boards say side by side: the gains of all methods, and where boards disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from board_rows import board_places

from plastibench.analysis.stats.estimate import percent
from plastibench.analysis.stats.significance import ALPHA
from plastibench.analysis.tables.table import ResultRow, ResultTable

ABSENT = "-"


def gains_table(boards: Iterable[str]) -> str:
    """Return a Markdown table of gains over warm start in percentage points, methods by boards; "" if empty.

    A star marks an interval without 0, bold type a difference that is significant once it is corrected for
    the number of comparisons on its board. Methods are in the order of the first board that has them: nothing
    is averaged over boards, since some have shifting targets and some have not.
    """
    tables = dict(place for board in boards for place in board_places(board))
    cells: dict[str, dict[str, str]] = {}
    for where, setting in tables.items():
        gained = [(row.gain.mean, row) for row in setting.rows if row.gain is not None]
        for _, row in sorted(gained, key=lambda pair: -pair[0]):
            cells.setdefault(row.method, {})[where] = _cell(row, setting)
    lines = [["method", *tables], ["---", *["---:"] * len(tables)]]
    lines += [[f"`{name}`", *(found.get(where, ABSENT) for where in tables)] for name, found in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if cells else ""


def _cell(row: ResultRow, setting: ResultTable) -> str:
    assert row.gain is not None
    text = percent(row.gain.mean, "+")
    tested = row.gains.get(setting.baseline or "")
    if tested is not None and tested.p < ALPHA:
        return f"**{text}**"
    return f"{text}*" if row.gain.excludes_zero else text


def disagreements(boards: Iterable[str], texts: Mapping[str, str]) -> Iterator[str]:
    """Yield a paragraph on the methods that are above warm start on one board and below it on another.

    Nothing is said of a single board. `texts` are those of docs/boards.toml.
    """
    places = [place for board in boards for place in board_places(board)]
    if len({where.partition(",")[0] for where, _ in places}) < 2:
        return
    signs: dict[str, dict[str, str]] = {}
    for where, setting in places:
        for row in setting.rows:
            if row.gain is not None and row.gain.excludes_zero:
                signs.setdefault(row.method, {})[where] = percent(row.gain.mean, "+")
    opposed = [
        f"`{name}` ({'; '.join(f'{where} {gain}' for where, gain in found.items())})"
        for name, found in signs.items()
        if {text[0] for text in found.values()} == {"+", "-"}
    ]
    head = "**Where boards disagree.**"
    if not opposed:
        yield f"{head} {texts['agreement']}"
        return
    shifts = any(setting.rows[0].records[0].spec.shifts_targets for _, setting in places)
    yield (
        f"{head} Above warm start on one board and below it on another, both with intervals without 0: "
        f"{', '.join(opposed)}. {texts['disagreement']} {texts['shifting'] if shifts else ''}"
    )

"""The seeds of runs: those that users may name, and those that are reserved for tuning."""

from collections.abc import Iterable

from plastibench.errors import RequestError, joined

MAX_SEEDS = 10_000
"""More are taken for a typing error."""

FIRST_TUNING_SEED = 1_000_000_000
"""This seed and those above are reserved for tuning: no reported number is chosen by its own luck."""


def seed_ranges(seeds: Iterable[int]) -> str:
    """Return seeds as text, sorted, three and more in a row as a range: "seeds 0-3 and 7"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    texts = [
        text
        for run in runs
        for text in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(seed) for seed in run])
    ]
    listed = joined(texts)
    return f"seed {listed}" if listed.isdecimal() else f"seeds {listed}"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of "5" (the first five), "3,5,7" or "10-14"."""
    allowed = f"give a count (5), a list (3,5,7) or a range (10-14), at most {MAX_SEEDS:,}"
    try:
        count = text.strip().isdecimal()
        ranges = [range(int(text))] if count else [_range(part) for part in text.split(",") if part.strip()]
    except ValueError:
        ranges = []
    # Not len(): it raises OverflowError for a huge range.
    sizes = [span.stop - span.start for span in ranges]
    if not ranges or min(sizes) < 1 or sum(sizes) > MAX_SEEDS:
        raise RequestError(f"seeds={text} is not allowed: {allowed}")
    if max(span.stop for span in ranges) > FIRST_TUNING_SEED:
        raise RequestError(
            f"seeds={text} is not allowed: {FIRST_TUNING_SEED:,} and above are reserved for tuning, so that "
            "reported runs share no seed with the runs that chose their settings"
        )
    return tuple(seed for span in ranges for seed in span)


def _range(text: str) -> range:
    low, dash, high = text.partition("-")
    return range(int(low), int(high if dash else low) + 1)

"""What the trials of a study have taught: how it went, what mattered, what a budget can give."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plastibench.tuning.objective import OBJECTIVES
from plastibench.tuning.study import SPENT, best_trials, finished_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

ENOUGH = 4
"""Judged trials from which the importance of settings is estimated."""


@dataclass(frozen=True)
class ExpectedBest:
    """What a number of trials can be expected to give."""

    trials: int
    passes: float
    """What so many trials cost on average."""
    mean: float
    sd: float


@dataclass(frozen=True)
class StudySummary:
    """What one study came to. Where it has two objectives, the first one is meant."""

    name: str
    method: str
    objective: str
    """For people, with its unit."""
    published: float | None
    """The value of trial 0; None where it failed."""
    chosen: str
    """The best trials, for people."""
    ended: dict[str, int]
    """How many trials were judged, pruned, failed."""
    history: list[tuple[int, float, float]]
    """Number, value and best so far of each judged trial."""
    importance: dict[str, float]
    """Share of the differences that a setting accounts for, as Optuna estimates it; empty for few trials."""
    slices: dict[str, list[tuple[float, float]]]
    """Setting to (its value, the trial's value) of each judged trial."""
    logs: frozenset[str]
    """Settings that were searched on a logarithmic scale."""
    expected: list[ExpectedBest]


def summarize(study: optuna.Study) -> StudySummary:
    """Return what a study has taught so far."""
    trials = finished_trials(study)
    judged = [trial for trial in trials if trial.state.name == "COMPLETE"]
    facts = study.user_attrs["facts"]
    sign = 1 if OBJECTIVES[facts["objective"][0]].direction == "maximize" else -1
    first = trials[0] if trials and trials[0].number == 0 and trials[0] in judged else None
    return StudySummary(
        name=study.study_name,
        method=study.user_attrs["grid"]["method"],
        objective=OBJECTIVES[facts["objective"][0]].text,
        published=None if first is None else first.values[0],
        chosen="; ".join(f"trial {trial.number}: {_text(trial)}" for trial in best_trials(study, trials)),
        ended={state: sum(t.state.name == state for t in trials) for state in ("COMPLETE", "PRUNED", "FAIL")},
        history=_history(judged, sign),
        importance=_importance(study, judged, sign),
        slices={
            one["name"]: [(trial.params[one["name"]], trial.values[0]) for trial in judged]
            for one in facts["search space"]
        },
        logs=frozenset(one["name"] for one in facts["search space"] if one["log"]),
        expected=expected_best(trials, sign),
    )


def _text(trial: FrozenTrial) -> str:
    values = ", ".join(f"{value:.6g}" for value in trial.values)
    return f"{values} with " + ", ".join(f"{name}={value:.4g}" for name, value in trial.params.items())


def _history(judged: Sequence[FrozenTrial], sign: int) -> list[tuple[int, float, float]]:
    found, top = [], -math.inf
    for trial in judged:
        top = max(top, sign * trial.values[0])
        found.append((trial.number, trial.values[0], sign * top))
    return found


def _importance(study: optuna.Study, judged: Sequence[FrozenTrial], sign: int) -> dict[str, float]:
    from optuna.importance import get_param_importances

    if len(judged) < ENOUGH or len({trial.values[0] for trial in judged}) < 2:
        return {}
    # Of several objectives the first: Optuna then wants to be told, and reminds of it that low is good.
    target = None if len(study.directions) == 1 else lambda trial: -sign * float(trial.values[0])
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return {name: float(share) for name, share in get_param_importances(study, target=target).items()}


def expected_best(trials: Sequence[FrozenTrial], sign: int = 1) -> list[ExpectedBest]:
    """Return the expected best value of 1, 2, ... trials and its standard deviation.

    By Dodge et al. (2019, arXiv 1909.03004, equation 4): as though trials were drawn at random from those
    made, which is what they are for a random search; a sampler that learns does better late. A pruned
    trial counts with the last value that it reported; a failed one is left out.
    """
    counting = [trial for trial in trials if trial.values is not None]
    values = sorted(sign * float(trial.values[0]) for trial in counting)
    if not values:
        return []
    each = statistics.fmean(float(trial.user_attrs.get(SPENT, {}).get("passes", 0.0)) for trial in counting)
    found = []
    for n in range(1, len(values) + 1):
        mean, second = (_expected_maximum([v**power for v in values], n) for power in (1, 2))
        found.append(ExpectedBest(n, n * each, sign * mean, math.sqrt(max(0.0, second - mean * mean))))
    return found


def _expected_maximum(ranked: Sequence[float], n: int) -> float:
    """Return the mean of what `ranked`, in the order of the values, has at the largest of n draws."""
    size = len(ranked)
    return sum(value * ((k / size) ** n - ((k - 1) / size) ** n) for k, value in enumerate(ranked, 1))


def format_summaries(found: Sequence[StudySummary]) -> str:
    """Return what studies have taught, as text, one after the other."""
    return "\n".join(line for one in found for line in [*_lines(one), ""])


def _lines(one: StudySummary) -> list[str]:
    ended = one.ended
    lines = [
        f"{one.name}: {one.objective}",
        f"  trials      {ended['COMPLETE']} judged, {ended['PRUNED']} pruned, {ended['FAIL']} failed",
        f"  published   {'-' if one.published is None else f'{one.published:.6g}'}",
        f"  chosen      {one.chosen or '-'}",
    ]
    if one.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.importance.items())
        lines.append(f"  importance  {shares}")
    if one.expected:
        steps = dict.fromkeys((0, len(one.expected) // 2, len(one.expected) - 1))
        points = [one.expected[step] for step in steps]
        texts = [f"{p.mean:.6g} +- {p.sd:.2g} for {p.trials} trials, {p.passes:,.0f} passes" for p in points]
        lines.append(f"  expected    {'; '.join(texts)}")
    return lines

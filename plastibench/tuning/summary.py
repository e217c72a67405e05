"""Summaries of studies: how the search went, which settings mattered, what a budget can give."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plastibench.errors import count
from plastibench.store.tuned_settings import format_cost
from plastibench.tuning.objective import OBJECTIVES, format_values
from plastibench.tuning.trials import COSTS, RULE, best_trials, finished_trials, published_trial, trial_costs

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MIN_TRIALS_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class ExpectedBest:
    """The best value that a number of trials can be expected to reach."""

    num_trials: int
    passes: float
    """Average cost of so many trials."""
    mean: float
    std: float


@dataclass(frozen=True)
class StudySummary:
    """The outcome of one study, by its first objective if it has two."""

    name: str
    method: str
    objective: str
    """With its unit."""
    unit: str
    published: float | None
    """The value of the published settings; None if their trial is not complete."""
    best: str
    """The best trials, as text."""
    cost: dict[str, float]
    """What all finished trials took: passes, FLOPs and seconds."""
    num_trials: dict[str, int]
    """Complete, pruned and failed trials, by Optuna's state."""
    pruned: dict[str, list[int]]
    """The pruned trials by the rule that ended them."""
    history: list[tuple[int, float, float]]
    """Number, value and best value so far of each complete trial."""
    importance: dict[str, float]
    """Each setting's share of the variance, as Optuna estimates it; empty for few trials."""
    slices: dict[str, list[tuple[float, float]]]
    """For each setting its value and the objective's in each complete trial."""
    log_settings: frozenset[str]
    """Settings that were searched on a logarithmic scale."""
    expected: list[ExpectedBest]


def summarize(study: optuna.Study) -> StudySummary:
    """Return the summary of a study so far."""
    trials = finished_trials(study)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    terms = study.user_attrs["facts"]
    objective, space = OBJECTIVES[terms["objective"][0]], terms["search space"]
    states = [trial.state.name for trial in trials]
    return StudySummary(
        name=study.study_name,
        method=study.user_attrs["grid"]["method"],
        objective=objective.label,
        published=_published(study),
        unit=objective.unit,
        best="; ".join(
            f"trial {trial.number}: {_format(trial, terms['objective'])}" for trial in best_trials(study)
        ),
        cost=trial_costs(trials),
        num_trials={state: states.count(state) for state in ("COMPLETE", "PRUNED", "FAIL")},
        pruned=_pruned(trials),
        history=_history(complete, objective.sign),
        importance=_importance(study, complete, objective.sign),
        slices={
            name: [(trial.params[name], trial.values[0]) for trial in complete]
            for name in (dimension["name"] for dimension in space)
        },
        log_settings=frozenset(dimension["name"] for dimension in space if dimension["log"]),
        expected=expected_best(trials, objective.sign),
    )


def _published(study: optuna.Study) -> float | None:
    trial = published_trial(study)
    return float(trial.values[0]) if trial is not None and trial.state.name == "COMPLETE" else None


def _pruned(trials: Sequence[FrozenTrial]) -> dict[str, list[int]]:
    pruned: dict[str, list[int]] = {}
    for trial in trials:
        if RULE in trial.user_attrs:
            pruned.setdefault(trial.user_attrs[RULE], []).append(trial.number)
    return pruned


def _format(trial: FrozenTrial, objectives: Sequence[str]) -> str:
    return f"{format_values(objectives, trial.values)} with " + ", ".join(
        f"{name}={value:.4g}" for name, value in trial.params.items()
    )


def _history(complete: Sequence[FrozenTrial], sign: int) -> list[tuple[int, float, float]]:
    history, best = [], -math.inf
    for trial in complete:
        best = max(best, sign * trial.values[0])
        history.append((trial.number, trial.values[0], sign * best))
    return history


def _importance(study: optuna.Study, complete: Sequence[FrozenTrial], sign: int) -> dict[str, float]:
    from optuna.importance import get_param_importances

    if len(complete) < MIN_TRIALS_FOR_IMPORTANCE or len({trial.values[0] for trial in complete}) < 2:
        return {}
    # For several objectives Optuna needs a target, and warns that low values of it are taken as good.
    target = None if len(study.directions) == 1 else lambda trial: -sign * float(trial.values[0])
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return {name: float(share) for name, share in get_param_importances(study, target=target).items()}


def expected_best(trials: Sequence[FrozenTrial], sign: int = 1) -> list[ExpectedBest]:
    """Return the expected best value of 1, 2, ... trials and its standard deviation.

    By Dodge et al. (2019, arXiv 1909.03004, equation 4), as if trials were drawn at random from those made:
    true of a random search; a sampler that learns does better late. A pruned trial, which cannot be chosen,
    counts as the worst complete one; failed trials are left out.
    """
    valued = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    complete = [sign * float(trial.values[0]) for trial in valued if trial.state.name == "COMPLETE"]
    if not complete:
        return []
    values = sorted([*complete, *[min(complete)] * (len(valued) - len(complete))])
    passes = statistics.fmean(float(trial.user_attrs.get(COSTS, {}).get("passes", 0.0)) for trial in valued)
    result = []
    for n in range(1, len(values) + 1):
        mean, square = (_expected_maximum([value**power for value in values], n) for power in (1, 2))
        result.append(ExpectedBest(n, n * passes, sign * mean, math.sqrt(max(0.0, square - mean * mean))))
    return result


def _expected_maximum(ranked: Sequence[float], n: int) -> float:
    """Return the mean of `ranked`, sorted by value, at the largest of n draws."""
    size = len(ranked)
    return sum(value * ((k / size) ** n - ((k - 1) / size) ** n) for k, value in enumerate(ranked, 1))


def format_summaries(summaries: Sequence[StudySummary]) -> str:
    """Return summaries as text, one after the other."""
    return "\n".join(line for summary in summaries for line in [*_lines(summary), ""])


def _lines(summary: StudySummary) -> list[str]:
    counts = summary.num_trials
    pruned = [f"{rule}: {', '.join(map(str, numbers))}" for rule, numbers in sorted(summary.pruned.items())]
    lines = [
        f"{summary.name}: {summary.objective}",
        f"  trials      {counts['COMPLETE']} complete, {counts['PRUNED']} pruned, {counts['FAIL']} failed",
        *([f"  pruned      trials by rule: {'; '.join(pruned)}"] if pruned else []),
        *([f"  cost        {format_cost(summary.cost)}"] if summary.cost else []),
        f"  published   {'-' if summary.published is None else f'{summary.published:,.6g} {summary.unit}'}",
        f"  best        {summary.best or '-'}",
    ]
    if summary.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in summary.importance.items())
        lines.append(f"  importance  {shares}")
    if summary.expected:
        last = len(summary.expected) - 1
        points = [summary.expected[step] for step in dict.fromkeys((0, (last + 1) // 2, last))]
        texts = [
            f"{p.mean:,.6g} +- {p.std:.2g} {summary.unit} for {count(p.num_trials, 'trial')}, "
            f"{count(round(p.passes), 'pass', 'passes')}"
            for p in points
        ]
        lines.append(f"  expected    {'; '.join(texts)}")
    return lines

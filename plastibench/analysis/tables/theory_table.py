"""The table of the feature-learning framework: accuracy, learned features and training time."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from plastibench.analysis.stats.estimate import Estimate, estimate_mean
from plastibench.analysis.tables.export import render
from plastibench.analysis.tables.text_table import Cell, TextTable
from plastibench.plugins.fields import settings_of
from plastibench.theory.experiment import Curves, FeatureLearning
from plastibench.theory.framework import Initialization

Results = Mapping[Initialization, Curves]
HEADER = ["start", "n", "last accuracy", "average accuracy", "features", "points with gradient", "time"]


def format_theory(settings: FeatureLearning, results: Results) -> TextTable:
    """Return a row for each initialization, as texts: mean +- standard deviation over seeds."""
    rows = []
    for start, curves in results.items():
        accuracies = [_estimate(values) for values in (curves.accuracy[:, -1], curves.accuracy.mean(axis=1))]
        counts = (curves.features[:, -1], curves.active[:, -1], curves.training_time)
        texts = [start.label, str(len(curves.features))]
        texts += [estimate.text() for estimate in accuracies]
        texts += [_count_text(_estimate(values)) for values in counts]
        rows.append([Cell(text) for text in texts])
    return TextTable(_title(settings), HEADER, rows, _notes())


def render_theory(settings: FeatureLearning, results: Results, format: str) -> str:
    """Return the table in one of the `EXPORT_FORMATS`; CSV and JSON have every stage, unrounded."""
    return render(
        format, lambda: [format_theory(settings, results)], lambda: theory_as_dict(settings, results)
    )


def theory_as_dict(settings: FeatureLearning, results: Results) -> dict[str, Any]:
    """Return the table as plain values, with every stage."""
    return {"tables": [_values(settings, results)]}


def _values(settings: FeatureLearning, results: Results) -> dict[str, Any]:
    rows = [_stage(start, curves, stage) for start, curves in results.items() for stage in _stages(curves)]
    return {"title": _title(settings), "settings": settings_of(settings), "notes": _notes(), "rows": rows}


def _stages(curves: Curves) -> Sequence[int]:
    return range(curves.features.shape[1])


def _stage(start: Initialization, curves: Curves, stage: int) -> dict[str, Any]:
    columns = {
        "accuracy": curves.accuracy[:, stage],
        "features": curves.features[:, stage],
        "points_with_gradient": curves.active[:, stage],
        "training_time": curves.active[:, : stage + 1].sum(axis=1),
    }
    estimates = {name: _estimate(values).as_dict() for name, values in columns.items()}
    return {"start": start.label, "stage": stage + 1, **estimates}


def _estimate(values: NDArray[Any]) -> Estimate:
    return estimate_mean([float(value) for value in values])


def _count_text(estimate: Estimate) -> str:
    mean = f"{estimate.mean:,.1f}"
    return mean if estimate.n < 2 else f"{mean} +- {estimate.sd:,.1f}"


def _title(settings: FeatureLearning) -> str:
    named = ", ".join(f"{name}={value}" for name, value in settings_of(settings).items())
    return f"feature learning ({named})"


def _notes() -> list[str]:
    return [
        "mean +- sample standard deviation over seeds; accuracy in percent, of a classifier that guesses "
        "unclassified points",
        "features: those of all classes that are learned at the end; points with gradient: at the start of "
        "the last stage; time: the same, summed over all stages",
    ]

"""What the trials of a tuning show so far: text and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.errors import RequestError, unknown
from plastibench.store import tuned_settings
from plastibench.tuning import plots, summary
from plastibench.tuning.storage import load_studies, open_storage, storage_errors, tuning_names
from plastibench.tuning.summary import StudySummary

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


@dataclass(frozen=True)
class TuningReport:
    """What the trials of a tuning show."""

    summaries: list[StudySummary]
    figures: list[Path]


def report_tuning(home: Path, name: str | None = None, storage_url: str | None = None) -> TuningReport:
    """Summarize and plot the trials of a tuning, by default of the only one that there is.

    Raises RequestError if there is no such tuning.
    """
    storage = open_storage(home, storage_url)
    with storage_errors(storage_url):
        return _report(storage, home, name)


def _report(storage: BaseStorage, home: Path, name: str | None) -> TuningReport:
    names = tuning_names(storage)
    name = name or (names[0] if len(names) == 1 else None)
    if name is None:
        raise RequestError(f"--report needs the --name of a tuning (there are: {', '.join(names) or 'none'})")
    if name not in names:
        raise unknown("tuning", name, names)
    summaries = [summary.summarize(study) for study in load_studies(storage, name)]
    folder = tuned_settings.suite_path(home, name).parent
    return TuningReport(summaries, plots.save_plots(summaries, folder, name))

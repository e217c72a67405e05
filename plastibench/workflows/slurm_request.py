"""What the user asks of a Slurm cluster, and what Slurm would refuse of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plastibench.errors import RequestError, unknown
from plastibench.workflows.request import Selection

HMS = 3
"""Parts of a time of hours, minutes and seconds."""
TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+|\d+-\d+:\d\d|\d+-\d+:\d\d:\d\d")

Homes = Literal["shared", "each"]


@dataclass(frozen=True, kw_only=True)
class SlurmRequest:
    """A suite and the cluster that executes it."""

    selection: Selection
    folder: Path | None = None
    """Where the scripts and logs go; None is a folder with the name of the suite."""
    homes: Homes = "shared"
    """Whether all tasks use one home folder, or each has its own and they are merged at the end."""
    num_tasks: int | None = None
    """Tasks of the array; None follows from `task_hours`."""
    task_hours: float = 1.0
    """How long a task takes, about: short runs are grouped so."""
    time_limit: str | None = None
    """As Slurm writes it; None follows from the estimate."""
    notice: int = 120
    """Seconds before its time limit at which a task is told to save its state."""
    concurrent: int | None = None
    """Most tasks at a time."""
    jobs: int | None = None
    """Runs side by side in a task; None is one for each CPU, or for each GPU."""
    cpus: int = 1
    gpus: int | None = None
    partition: str | None = None
    account: str | None = None
    directives: Sequence[str] = ()
    """Further #SBATCH lines, without that word."""
    setup: Sequence[str] = ()
    """Commands before the runs, such as `module load cuda`."""
    program: str | None = None
    """How a node starts plastibench; None is this Python."""
    costs: Path | None = None
    """A file that `plan --save` wrote, perhaps on a node; None estimates here."""

    def __post_init__(self) -> None:
        """Raise RequestError for what Slurm would refuse."""
        if self.homes not in ("shared", "each"):
            raise unknown("kind of homes", self.homes, ("shared", "each"))
        if self.time_limit is not None and not TIME.fullmatch(self.time_limit):
            raise RequestError(
                f"time={self.time_limit} is not allowed: write minutes, HH:MM:SS or DAYS-HH:MM:SS"
            )
        if not self.task_hours > 0:  # NaN, too
            raise RequestError(f"task-hours={self.task_hours:g} is not allowed: write hours above 0")
        words = (self.partition or "", self.account or "", self.program or "")
        for line in (*self.directives, *self.setup, *words):
            if "\n" in line:
                raise RequestError(f"{line!r} has a line break: give one line at a time")
        for line in self.directives:
            if not line.startswith("-"):
                raise RequestError(f"sbatch={line!r} is not allowed: write an option, such as --mem=16G")


def check_notice(notice: int, time_limit: str) -> None:
    """Raise RequestError if tasks would be told to save their states before they have begun."""
    seconds = _seconds(time_limit)
    if 0 < seconds <= notice:  # 0 is no limit
        raise RequestError(
            f"notice={notice} is not allowed with time={time_limit}: a task would stop when it starts; "
            f"write less than {seconds} seconds"
        )


def _seconds(time_limit: str) -> int:
    """Return the seconds of a time limit as Slurm writes it."""
    days, has_days, clock = time_limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if has_days:  # DAYS-HH, DAYS-HH:MM, DAYS-HH:MM:SS
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) < HMS:  # MM, MM:SS
        hours, minutes, seconds = 0, *[*parts, 0][:2]
    else:
        hours, minutes, seconds = parts
    return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds

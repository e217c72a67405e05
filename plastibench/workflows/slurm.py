"""Write the scripts that execute a suite on a Slurm cluster: an array of shards, and what follows it."""

from __future__ import annotations

import logging
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from plastibench.devices import device_class
from plastibench.errors import RequestError, writing
from plastibench.experiments.shard import split
from plastibench.experiments.spec import Spec
from plastibench.profiling.estimate import wall_seconds
from plastibench.runner.workspace import default_cache
from plastibench.system.files import write_atomic
from plastibench.workflows.plan import PlanRequest, plan
from plastibench.workflows.request import RunOptions, Selection
from plastibench.workflows.shards import MILLISECONDS, read_costs
from plastibench.workflows.slurm_request import SlurmRequest, check_notice

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates" / "slurm"
SCRIPTS = ("array.sbatch", "finish.sbatch", "submit.sh")
COSTS_FILE = "costs.json"

MAX_TASKS = 1000
"""Tasks of an array unless the user sets a number: Slurm's own limit, MaxArraySize, is 1001 by default."""
SLACK, START_SECONDS, ROUND_MINUTES = 1.5, 600, 10
"""A time limit is this many times the estimate and this much for the start, rounded up to these minutes. If
it is too short, the task is requeued and continues."""
MAX_RESTARTS = 50
"""Requeues after which something must be wrong."""
INTERRUPTED = 130
"""Exit status of `plastibench run` after it has saved the states of its runs."""


@dataclass(frozen=True)
class SlurmScripts:
    """What was written."""

    folder: Path
    num_tasks: int
    num_runs: int
    time_limit: str
    task_seconds: float | None
    """Estimated seconds of the longest task; None if nothing was estimated."""

    @property
    def submit_command(self) -> str:
        """Return the command that submits everything."""
        return shlex.join(["bash", str(self.folder / "submit.sh")])


@dataclass(frozen=True)
class _Tasks:
    number: int
    seconds: float | None = None


def write_scripts(request: SlurmRequest) -> SlurmScripts:
    """Write the scripts, and the costs by which every task divides the runs alike.

    Raises RequestError for runs that cannot be estimated here if the user does not say how many tasks there
    are and how long they may take.
    """
    selection = request.selection
    name = selection.resolved_suite.name
    folder = (request.folder or Path(f"slurm-{name}")).resolve()
    if not selection.specs:
        raise RequestError(f"{name} has no runs: {'; '.join(map(str, selection.refused)) or 'name some'}")
    costs = _costs(request, folder / COSTS_FILE)
    tasks = _tasks(request, selection.specs, costs)
    time_limit = request.time_limit or _time_limit(tasks)
    check_notice(request.notice, time_limit)
    values = _values(request, folder, tasks.number, time_limit, has_costs=costs is not None)
    with writing(f"scripts in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if request.costs is not None:
            write_atomic(folder / COSTS_FILE, request.costs.read_bytes())
        for script in SCRIPTS:
            write_atomic(folder / script, _filled(script, values))
    _warn_of_no_device(request)
    return SlurmScripts(folder, tasks.number, len(selection.specs), time_limit, tasks.seconds)


def _warn_of_no_device(request: SlurmRequest) -> None:
    """Warn if no line asks for the device of the runs."""
    name = request.selection.device_name
    if device_class(name).cluster_resource is None or request.gpus is not None:
        return
    if not any(re.search("gpu|gres|tres", line) for line in request.directives):
        logger.warning(
            "the runs need %s, and no line asks for one: give --gpus N, or --sbatch with your cluster's own "
            "line, such as --sbatch=--gres=NAME:1",
            name,
        )


def _costs(request: SlurmRequest, path: Path) -> Mapping[str, int] | None:
    """Return the costs of the runs, from the user or from a plan, which is written beside the scripts.

    None if the user needs no estimate.
    """
    specs = request.selection.specs
    if request.costs is not None:
        return read_costs(request.costs, specs)
    if request.num_tasks is not None and request.time_limit is not None:
        return None
    try:
        plan(PlanRequest(selection=request.selection, options=RunOptions(jobs=1, threads=1), save=path))
    except RequestError as error:
        raise RequestError(
            f"these runs cannot be estimated here ({error}): give --array and --time, or --costs with a file "
            "that `plastibench plan --save` wrote on a node"
        ) from error
    return read_costs(path, specs)


def _tasks(request: SlurmRequest, specs: Sequence[Spec], costs: Mapping[str, int] | None) -> _Tasks:
    """Return the number of tasks, and what the longest one takes."""
    if costs is None:
        assert request.num_tasks is not None
        return _Tasks(min(request.num_tasks, len(specs)))
    jobs, total = _jobs(request), sum(costs.values()) / MILLISECONDS
    wanted = request.num_tasks or min(MAX_TASKS, ceil(total / jobs / (3600 * request.task_hours)))
    number = max(1, min(wanted, ceil(sum(cost > 0 for cost in costs.values()) / jobs)))
    shards = split(specs, costs, number)
    each = [wall_seconds([costs[spec.id] / MILLISECONDS for spec in shard], jobs) for shard in shards]
    return _Tasks(number, max(each, default=0.0))


def _jobs(request: SlurmRequest) -> int:
    return request.jobs or request.gpus or request.cpus


def _time_limit(tasks: _Tasks) -> str:
    """Return the time limit of a task as Slurm writes it."""
    assert tasks.seconds is not None
    seconds = SLACK * tasks.seconds + START_SECONDS
    hours, minutes = divmod(ROUND_MINUTES * ceil(seconds / 60 / ROUND_MINUTES), 60)
    return f"{hours // 24}-{hours % 24:02}:{minutes:02}:00" if hours >= 24 else f"{hours:02}:{minutes:02}:00"


def _values(
    request: SlurmRequest, folder: Path, num_tasks: int, time_limit: str, *, has_costs: bool
) -> dict[str, Any]:
    """Return what the templates name; every word is quoted for the shell."""
    selection = request.selection
    words = shlex.join(_words(selection))
    extra = ["--costs", str(folder / COSTS_FILE)] if has_costs else []
    named = {"partition": request.partition, "account": request.account}
    both = [f"--{name}={shlex.quote(value)}" for name, value in named.items() if value]
    gpus = [f"--gpus-per-node={request.gpus}"] if request.gpus else []
    return {
        "name": re.sub(r"[^\w.-]", "-", selection.resolved_suite.name),
        "folder": shlex.quote(str(folder)),
        "logs": shlex.quote(str(folder)).replace("%", "%%"),  # which begins what Slurm puts in
        "current": shlex.quote(str(Path.cwd())),  # relative paths in settings and --setup lead from there
        "homes": shlex.quote(str(folder / "homes")),
        "home": shlex.quote(str(selection.workspace.home.resolve())),
        "per_task_home": request.homes == "each",
        "program": request.program or shlex.join([sys.executable, "-m", "plastibench"]),
        "words": words,
        "run_words": shlex.join([*_words(selection), *extra, *(_threads(request))]),
        "num_tasks": num_tasks,
        "time_limit": time_limit,
        "concurrent": request.concurrent,
        "jobs": _jobs(request),
        "cpus": request.cpus,
        "notice": request.notice,
        "interrupted": INTERRUPTED,
        "terminated": 128 + signal.SIGTERM,
        "max_restarts": MAX_RESTARTS,
        "directives": [*both, *gpus, *request.directives],
        "finish_directives": [*both],
        "setup": list(request.setup),
    }


def _threads(request: SlurmRequest) -> list[str]:
    """Return the threads of each run: Slurm need not confine a task to its CPUs, so they are not counted."""
    return ["--threads", str(max(1, request.cpus // _jobs(request)))]


def _words(selection: Selection) -> Iterator[str]:
    """Yield the words that name these runs on the command line, from any folder."""
    if selection.suite is not None:
        is_file = selection.suite.endswith(".toml")
        yield str(Path(selection.suite).resolve()) if is_file else selection.suite
    for option, names in (
        ("--task", selection.tasks),
        ("--method", selection.methods),
        ("--model", selection.models),
        ("--probe", selection.probes),
    ):
        if names is not None:
            yield from (option, ",".join(names))
    if selection.seeds is not None:
        yield from ("--seeds", ",".join(f"{seed}-{seed}" for seed in selection.seeds))
    for option, value in (("--recipe", selection.recipe), ("--device", selection.device)):
        if value is not None:
            yield from (option, value)
    for name, text in selection.settings.items():
        yield from ("--set", f"{name}={text}")
    yield from _workspace_words(selection)


def _workspace_words(selection: Selection) -> Iterator[str]:
    workspace = selection.workspace
    for plugin in workspace.plugins:
        if isinstance(plugin, Path):
            yield from ("--plugin", str(plugin.resolve()))
    if workspace.data != default_cache() / "data":
        yield from ("--data", str(workspace.data.resolve()))


def _filled(script: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Shell scripts, not HTML: words are quoted for the shell.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(script).render(values)

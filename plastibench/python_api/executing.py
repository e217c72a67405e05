"""Functions that execute: `run`, `resume` and `tune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from plastibench.display.runs import RunProgress
from plastibench.display.shown import progress_shown
from plastibench.workflows.arguments import (
    ExecutionArguments,
    Folder,
    Names,
    RunArguments,
    SelectionArguments,
    as_names,
    options,
    selection,
    workspace,
)
from plastibench.workflows.request import RunRequest

if TYPE_CHECKING:
    from plastibench.runner.callbacks import RunCallback
    from plastibench.tuning.callbacks import TuningCallback
    from plastibench.workflows.run_result import RunResult
    from plastibench.workflows.tune import TuneResult


def run(
    suite: Folder | None = None,
    *,
    tuned: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[RunCallback] = (),
    **arguments: Unpack[RunArguments],
) -> RunResult:
    """Execute the runs of a suite or of a grid, as `plastibench run` does. Finished runs are not repeated.

    Args:
        suite: Name of a suite, or the path of a TOML file. Without `suite` and `task` it is the quick start.
        task: Name of a task, or several. Where a name is allowed, so is the class of a plug-in.
        methods: Names of methods; `name:preset` for a published variant. Default: those of the quick start.
            A class may be defined in a module, in a script, or in a cell of a notebook.
        model: Name of a model, or several. Default: the task's own.
        recipe: How a stage is trained, such as `"standard"` or `"sota"`. Default: the task's first.
        probes: Names of probes: measurements of every stage.
        seeds: How many (`5`), which (`[3, 5, 7]`), or text as on the command line (`"10-14"`). Default: 3.
        settings: By `name`, or by `plug-in.name` for one plug-in: `{"stages": 2, "dash.floor": 0.1}`.
        device: `"cpu"`, `"cuda"`, `"cuda:N"` or `"hpu"`. Default: the suite's, or cpu.
        tuned: Whether `suite` is the name of a tuning in the home folder.
        home: Folder of the runs. Default: PLASTIBENCH_HOME, or plastibench-home.
        data: Folder of the data sets. Default: PLASTIBENCH_DATA, or a folder in the user's cache.
        plugins: Files with plug-ins of your own.
        jobs: Runs side by side; None is one per CPU core. Default: 1, all runs in this process; on a
            cluster as many as there is room for.
        devices: On how many devices of this machine each run is trained together. Default: 1.
        threads: CPU threads of each run. Default: as many as were measured to pay; one for small models.
        executor: `"local"` for this machine, or `"ray"` for a Ray cluster.
        address: The cluster, HOST:PORT. Default: RAY_ADDRESS, or a Ray instance of this machine alone.
        device_share: Part of a GPU that a run on a cluster takes, such as 0.25. Default: 1.
        checkpoint_interval: Seconds between two checkpoints of a run; 0 is after every step, infinity only
            when stopped. Default: 60.
        checkpoint_storage: Where states of unfinished runs are kept: a folder, or an address such as
            `"s3://bucket/folder"`. Default: the home folder.
        deterministic: Whether to use only kernels that give the same bits each time.
        compile: Whether to compile models with torch.compile on CUDA: pays off for runs of minutes.
        retries: How often a run is tried again if its process is killed; with `jobs` above 1. Default: 1.
        run_timeout: Seconds after which a run is stopped at a checkpoint and reported. Default: never.
        shard: `"2/8"` executes the second of eight parts of the runs. Default: all.
        costs: File of known costs for the division into shards. Default: by the runs' descriptions.
        estimate: Whether to log beforehand how long the runs will take. Default: if logging shows it (INFO).
        mlflow: Whether to mirror the runs to MLflow while they train. Default: no.
        tracking_uri: MLflow's address. Default: a database in the home folder.
        progress: Whether to show how far the runs are. Default: in a notebook and on a terminal.
        callbacks: Objects whose hooks are called while the runs are executed.

    Returns:
        A result with the finished runs (`records`), their `table` or `tables`, a row for each stage
            (`frame`), the HTML page (`report(path)`) and why other runs failed (`failures`).

    Raises:
        RequestError: If something named does not exist, a value is not allowed, or data are missing.
        KeyboardInterrupt: After Ctrl-C, when the states of the runs in progress are saved.

    Example:
        >>> result = plastibench.run(task="digits", methods=["warm", "dash"], seeds=2)
        >>> [row.method for row in result.table.rows]
        ['dash', 'warm']

    """
    from plastibench.workflows import run as workflow

    request = RunRequest(
        selection=selection(suite, arguments, RunArguments, tuned=tuned), options=options(arguments)
    )
    with progress_shown(RunProgress, progress) as shown:
        return workflow.run(request, [*shown, *callbacks])


def resume(
    runs: Names = (),
    *,
    device: str | None = None,
    progress: bool | None = None,
    callbacks: Sequence[RunCallback] = (),
    **arguments: Unpack[ExecutionArguments],
) -> RunResult:
    """Continue runs that were started and are not finished, as `plastibench resume` does.

    Args:
        runs: Ids of runs, or beginnings of them. Default: all.
        device: Default: the kind of device that the runs were started on.
        progress: Whether to show how far the runs are. Default: in a notebook and on a terminal.
        callbacks: Objects whose hooks are called while the runs are executed.
        **arguments: home, data, plugins, jobs, threads, executor, address, device_share, checkpoint_interval,
            checkpoint_storage, deterministic, compile, retries, run_timeout, shard, costs, estimate, mlflow
            and tracking_uri, as for `run`.

    Returns:
        The runs that are finished now, their tables, and why other runs failed.

    Raises:
        RequestError: If no run has such an id, or the code of a run has changed.

    Example:
        >>> plastibench.resume(home="my-home").failures
        {}

    """
    from plastibench.workflows import resume as workflow

    request = workflow.ResumeRequest(
        workspace=workspace(arguments, ExecutionArguments),
        runs=as_names(runs) or (),
        device=device,
        options=options(arguments),
    )
    with progress_shown(RunProgress, progress) as shown:
        return workflow.resume(request, [*shown, *callbacks])


def tune(
    suite: Folder | None = None,
    *,
    trials: int | None = None,
    budget: str | None = None,
    objective: Names = "mean",
    search: Names = (),
    seeds_per_trial: int = 3,
    pruning: bool = True,
    name: str | None = None,
    storage: str | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    mlflow: bool = False,
    tracking_uri: str | None = None,
    progress: bool | None = None,
    callbacks: Sequence[TuningCallback] = (),
    **arguments: Unpack[SelectionArguments],
) -> TuneResult:
    """Search the settings of methods on validation data, as `plastibench tune` does.

    Args:
        trials: Trials of each method. Give this or `budget`.
        budget: What each method may use: `"2e6passes"`, `"1e15flops"` or `"0.5h"`.
        objective: `"last"`, `"mean"`, `"per_cost"` or `"cost"`; with two, all trials that none beats in both.
        search: Settings to search beside the methods' own: `"learning_rate"`, or `"width=8:64:log"`.
        seeds_per_trial: Runs of a trial.
        pruning: Whether to end trials early that cannot learn any more, or are behind the published settings.
        name: Name of the tuning. Default: made of what is tuned.
        storage: Address of an Optuna storage. Default: a journal in the home folder.
        jobs: Trials side by side. Default: one per CPU core, or one per device; 1 runs all in this process.
        threads: CPU threads of each trial. Default: 1.
        mlflow, tracking_uri: As for `run`.
        progress: Whether to show how far the trials are. Default: in a notebook and on a terminal.
        callbacks: Objects whose hooks are called when trials end.
        suite, **arguments: task, methods, model, recipe, probes, settings, device, home, data and plugins,
            as for `run`; seeds are those to report, as trials have seeds of their own.

    Returns:
        The studies, a row for each trial (`frame`), and the path of the suite with published and best
            settings: `run(name, tuned=True)` measures it on seeds of its own.

    Raises:
        RequestError: If something named does not exist, a value is not allowed, or nothing can be searched.

    Example:
        >>> tuning = plastibench.tune(task="digits", methods="dash", trials=20)
        >>> result = plastibench.run(tuning.name, tuned=True)

    """
    from plastibench.tuning.budget import parse_budget
    from plastibench.tuning.objective import parse_objectives
    from plastibench.tuning.plan import StudyConfig
    from plastibench.tuning.search_space import parse_dimensions
    from plastibench.workflows import tune as workflow

    request = workflow.TuneRequest(
        selection=selection(suite, arguments),
        config=StudyConfig(
            objectives=parse_objectives(",".join(as_names(objective) or ())),
            num_seeds=seeds_per_trial,
            pruning=pruning,
            extra_dimensions=parse_dimensions(as_names(search) or ()),
        ),
        budget=parse_budget(trials, budget),
        name=name,
        storage_url=storage,
        jobs=jobs,
        threads=threads,
        mlflow=mlflow,
        tracking_uri=tracking_uri,
    )
    from plastibench.display.tunings import TuningProgress

    with progress_shown(TuningProgress, progress) as shown:
        return workflow.tune(request, [*shown, *callbacks])

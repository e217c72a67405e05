"""Carry out what was asked for, keep the mirror up to date, print the table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from plastibench.analysis.tables import sheets, tables
from plastibench.cli.progress import Display
from plastibench.cli.render import show
from plastibench.cli.screen import Screen, say_damaged, say_line
from plastibench.devices import Device, get_device
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunFailed
from plastibench.runner.execute import prepare_data
from plastibench.runner.scheduler import run_specs
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import mirrored
from plastibench.tracking.follower import MirrorJob
from plastibench.workflows.request import Request
from plastibench.workflows.sync import known_texts
from plastibench.workflows.table import DONE, SOME_FAILED


def carry_out(request: Request, jobs: int | None, server: TrackingServer | None) -> int:
    """Run what is missing, print the table and where everything lies; return the exit status.

    The runs are mirrored to `server`, if there is one.
    """
    specs, device = request.specs(), get_device(request.device_name())
    chosen = tuned_settings.from_grids(request.leaderboard.grids, request.registry)
    _check_precisions(specs, device)
    if request.deterministic:
        device.use_deterministic_algorithms()
    store, console = Store(request.home), Screen(stderr=True)
    store.prepare()
    before = store.finished(specs)
    say = partial(say_line, console)
    say_damaged(store, say, "the run is made again")
    todo = len(specs) - len(before)
    num_processes = max(1, min(jobs or device.default_num_processes(), todo))
    say(_plan(request.leaderboard.name, (len(specs), todo), f"on {device.name()}, {num_processes} at a time"))
    threads = request.threads or device.num_threads(num_processes)
    where = (request.home, request.data, request.cache)
    context = RunContext(*where, str(device), request.plugins, threads)
    context = replace(context, num_processes=num_processes, checkpoint_interval=request.interval)
    context = replace(context, deterministic=request.deterministic)
    missing = _missing(specs, before)
    prepare_data(missing, context)
    if chosen:
        tuned_settings.save(request.home, chosen)
    wanted = leaderboards.assign(request.home, request.board, specs)
    errand = MirrorJob(server, wanted) if server is not None and wanted else None
    with mirrored(errand, say) as mirror:
        with Display(console, len(specs), len(before), num_processes) as display:
            failed = run_specs(missing, context, [display])
        records = tuned_settings.attach(Store(request.home).finished(specs), request.home)
        if records:
            board = request.leaderboard
            show(sheets(tables(records, board.baseline, board.cost_reference)))
        say(f"runs: {(request.home / 'runs').resolve()}")
        if mirror is not None:
            mirror.finish(known_texts(request.home, wanted))
    return _verdict(failed, len(specs), say)


def _missing(specs: list[Spec], before: list[Record]) -> list[Spec]:
    finished = {record.id for record in before}
    return [spec for spec in specs if spec.id not in finished]


def _plan(name: str, counts: tuple[int, int], how: str) -> str:
    total, todo = counts
    if not todo:
        return f"{name}: all {total} runs are finished already, nothing to do"
    return f"{name}: {total} runs, {total - todo} finished, {todo} to do {how}"


def _check_precisions(specs: list[Spec], device: Device) -> None:
    """Refuse at once what every run would fail with."""
    for precision in dict.fromkeys(spec.recipe["precision"] for spec in specs):
        device.autocast(precision)


def _verdict(failed: list[RunFailed], total: int, say: partial[None]) -> int:
    """Count the failures; each was named, with its reason, when it happened."""
    if not failed:
        return DONE
    say(f"{len(failed)} of {total} runs failed, the others are kept; the same command tries them again")
    return SOME_FAILED

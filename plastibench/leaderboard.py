"""Carry out what was asked for, keep the mirror up to date, print the table."""

from __future__ import annotations

import shlex
from functools import partial

from plastibench import tracking, tuned
from plastibench.devices import Device, pick
from plastibench.display import Display, Screen
from plastibench.execute import Place, Watcher, check_data, run_all
from plastibench.mirroring import Mirroring
from plastibench.printing import DONE, SOME_FAILED, say_damaged, say_line, show
from plastibench.request import Request
from plastibench.spec import Spec
from plastibench.store import Record, Store
from plastibench.tables import sheets, tables


def carry_out(request: Request, jobs: int | None, *, mirrored: bool) -> int:
    """Run what is missing, print the table and where everything lies; return the exit status."""
    specs, device = request.specs(), pick(request.device_name())
    chosen = tuned.chosen(request.leaderboard.grids, request.registry)
    _check_precisions(specs, device)
    store, console = Store(request.home), Screen(stderr=True)
    store.prepare()
    before = store.finished(specs)
    say = partial(say_line, console)
    say_damaged(store, say, "the run is made again")
    todo = len(specs) - len(before)
    side_by_side = max(1, min(jobs or device.side_by_side(), todo))
    say(_plan(request.leaderboard.name, (len(specs), todo), f"on {device.name()}, {side_by_side} at a time"))
    threads = max(1, device.side_by_side() // side_by_side)
    place = Place(request.home, request.data, request.cache, str(device), request.plugins, threads)
    check_data(_missing(specs, before), place, request.registry)
    with Display(console, len(specs), len(before), side_by_side) as display:
        mirror = _mirroring(request, display, say) if mirrored else None
        failed = run_all(specs, place, mirror or display, side_by_side)
    if chosen:
        tuned.remember(request.home, chosen)
    records = tuned.attached(Store(request.home).finished(specs), request.home)
    if records:
        board = request.leaderboard
        show(sheets(tables(records, board.baseline, board.yardstick)))
    say(f"runs: {(request.home / 'runs').resolve()}")
    if mirror is not None:
        _say_mirror(mirror, records, say)
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
        device.precision(precision)


def _verdict(failed: list[tuple[Spec, str]], total: int, say: partial[None]) -> int:
    """Count the failures; each was named, with its reason, when it happened."""
    if not failed:
        return DONE
    say(f"{len(failed)} of {total} runs failed, the others are kept; the same command tries them again")
    return SOME_FAILED


def _mirroring(request: Request, watcher: Watcher, say: partial[None]) -> Mirroring | None:
    if not tracking.available():
        say("mlflow is not installed: nothing is mirrored")
        return None
    return Mirroring(watcher, (request.home, request.leaderboard.name), say)


def _say_mirror(mirroring: Mirroring, records: list[Record], say: partial[None]) -> None:
    """Mirror also what was finished before, and say where it is seen."""
    if not records:
        return
    mirroring.add(records)
    if mirroring.broken or mirroring.mirror is None:
        return
    say(f"MLflow: {mirroring.added} runs added to {tracking.uri(mirroring.home)}")
    page = f"plastibench ui --home {shlex.quote(str(mirroring.home))}"
    say(f"        `{page}`, then <address>/{mirroring.mirror.link()}")

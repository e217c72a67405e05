"""Carry out what was asked for, keep the mirror up to date, print the table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from plastibench import tracking, tuned
from plastibench.devices import Device, pick
from plastibench.display import Display, Screen
from plastibench.execute import Place, check_data, run_all
from plastibench.mirroring import Mirroring
from plastibench.printing import DONE, SOME_FAILED, say_damaged, say_line, show
from plastibench.request import Request
from plastibench.spec import Spec
from plastibench.store import Record, Store
from plastibench.syncing import texts
from plastibench.tables import sheets, tables
from plastibench.tracking import Server, boards
from plastibench.tracking.follow import Errand


def carry_out(request: Request, jobs: int | None, server: Server | None) -> int:
    """Run what is missing, print the table and where everything lies; return the exit status.

    The runs are mirrored to `server`, if there is one.
    """
    specs, device = request.specs(), pick(request.device_name())
    chosen = tuned.chosen(request.leaderboard.grids, request.registry)
    _check_precisions(specs, device)
    if request.deterministic:
        device.be_deterministic()
    store, console = Store(request.home), Screen(stderr=True)
    store.prepare()
    before = store.finished(specs)
    say = partial(say_line, console)
    say_damaged(store, say, "the run is made again")
    todo = len(specs) - len(before)
    side_by_side = max(1, min(jobs or device.side_by_side(), todo))
    say(_plan(request.leaderboard.name, (len(specs), todo), f"on {device.name()}, {side_by_side} at a time"))
    threads = max(1, device.side_by_side() // side_by_side)
    where = (request.home, request.data, request.cache)
    place = Place(*where, str(device), request.plugins, threads)
    place = replace(place, interval=request.interval, deterministic=request.deterministic)
    check_data(_missing(specs, before), place, request.registry)
    name = request.leaderboard.name
    boards.remember(request.home, name, (spec.id for spec in specs))
    with _mirroring(server, {name: tuple(specs)}, say) as mirror:
        with Display(console, len(specs), len(before), side_by_side) as display:
            failed = run_all(specs, place, display, side_by_side)
        if chosen:
            tuned.remember(request.home, chosen)
        records = tuned.attached(Store(request.home).finished(specs), request.home)
        if records:
            board = request.leaderboard
            show(sheets(tables(records, board.baseline, board.yardstick)))
        say(f"runs: {(request.home / 'runs').resolve()}")
        if mirror is not None:
            mirror.finish({name: texts(records)})
            _say_mirror(mirror, say)
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


@contextmanager
def _mirroring(
    server: Server | None, wanted: dict[str, tuple[Spec, ...]], say: partial[None]
) -> Iterator[Mirroring | None]:
    """Let leaderboards be mirrored while inside."""
    if server is not None and not tracking.available():
        say("mlflow is not installed: nothing is mirrored")
    if server is None or not tracking.available():
        yield None
        return
    with Mirroring(Errand(server, wanted), say) as mirror:
        yield mirror


def _say_mirror(mirror: Mirroring, say: partial[None]) -> None:
    """Say what was mirrored, and where it is seen."""
    if mirror.result is None:
        return
    server, (added, links) = mirror.errand.server, mirror.result
    say(f"MLflow: {added} runs added to {server.shown}")
    words = f"--home {shlex.quote(str(server.home))}" if server.own else f"--tracking {server.shown}"
    for link in links.values():
        page = f"`plastibench ui {words}`, then <address>/" if server.is_database else f"{server.shown}/"
        say(f"        {page}{link}")

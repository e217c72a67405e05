"""One typed request: what a user named on the command line, completed from a suite and the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid, parse_seeds
from plastibench.experiments.spec import Spec
from plastibench.experiments.suites import Suite
from plastibench.plugins.registry import Registry
from plastibench.store import tuned_settings
from plastibench.store.run_status import started_specs
from plastibench.store.run_store import Store


@dataclass(frozen=True)
class Request:
    """What to run or to show, as text; and where."""

    suite: str | None
    task: str | None
    method: str | None
    model: str | None
    recipe: str | None
    seeds: str | None
    device: str | None
    settings: Mapping[str, str]
    plugins: tuple[Path, ...]
    home: Path
    data: Path
    cache: Path
    tuned: bool = False
    """Whether the suite is one that a tuning wrote."""
    interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    threads: int | None = None
    """Of each run on the processor; None is the device's choice."""
    deterministic: bool = False
    """Whether the device is told to give the same bits for the same work."""

    @cached_property
    def registry(self) -> Registry:
        """Return the plug-ins that may be named."""
        return Registry(self.plugins)

    @cached_property
    def leaderboard(self) -> Suite:
        """Return the suite, with what the user named in place of its own."""
        if self.suite is not None and self.task is not None:
            raise RequestError(f"give either a suite ({self.suite}) or --task {self.task}, not both")
        if self.tuned:
            return self._chosen()
        if self.task is None:
            suite = suites.load(suites.defaults().suite if self.suite is None else self.suite)
            return replace(suite, grids=tuple(self._changed(grid) for grid in suite.grids))
        usual = suites.defaults()
        grid = Grid(tasks=_words(self.task), methods=suites.load(usual.suite).grids[0].methods)
        return Suite("-".join(grid.tasks), "", usual.baseline, usual.cost_reference, (self._changed(grid),))

    @property
    def board(self) -> str | None:
        """Return the leaderboard that the runs are asked for; None where that is known of each."""
        return self.leaderboard.name

    def specs(self) -> list[Spec]:
        """Return the runs, each once. Raises RequestError for what does not exist or is not allowed."""
        found = [spec for grid in self.leaderboard.grids for spec in grid.specs(self.registry)]
        return list({spec.id: spec for spec in found}.values())

    def device_name(self) -> str:
        """Return the device that all runs use."""
        names = {grid.device for grid in self.leaderboard.grids}
        if len(names) > 1:
            raise RequestError(
                f"this suite names several devices ({', '.join(sorted(names))}): choose with --device"
            )
        return names.pop()

    def _chosen(self) -> Suite:
        """Return the suite that a tuning wrote, with those of its methods that the user named."""
        suite = tuned_settings.load_suite(self.home, self.suite, self.task)
        methods = self._named("method")
        found = [grid for grid in suite.grids if methods is None or set(grid.methods) <= set(methods)]
        if not found:
            raise unknown(
                f"method in tuning {suite.name}",
                str(self.method),
                {m for g in suite.grids for m in g.methods},
            )
        same = replace(self, method=None)
        return replace(suite, grids=tuple(same._changed(grid) for grid in found))

    def _changed(self, grid: Grid) -> Grid:
        named = {
            "methods": self._named("method"),
            "models": self._named("model"),
            "recipe": self.recipe,
            "seeds": None if self.seeds is None else parse_seeds(self.seeds),
            "device": self.device,
        }
        changes = {name: value for name, value in named.items() if value is not None}
        return replace(grid, **changes, settings={**grid.settings, **self.settings})  # type: ignore[arg-type]

    def _named(self, option: str) -> tuple[str, ...] | None:
        """Return the names given to an option; an empty text names nothing, which is not a default."""
        text = getattr(self, option)
        if text is None:
            return None
        if not _words(text):
            raise RequestError(f"--{option} {text!r} names no {option}")
        return _words(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True)
class Begun(Request):
    """A request for runs that were begun and are not finished, whatever grid they came from."""

    runs: tuple[str, ...] = ()
    """Ids, or beginnings of them; none is all."""

    @cached_property
    def leaderboard(self) -> Suite:
        """Return the suite that is said to be run."""
        return Suite("resumed", "", suites.defaults().baseline, suites.defaults().cost_reference, ())

    @property
    def board(self) -> None:
        """Return nothing: the runs stay in the leaderboards that they were asked for."""
        return

    @cached_property
    def descriptions(self) -> Store:
        """Return the store that knows which runs cannot be gone on with, their description being damaged."""
        return Store(self.home)

    @cached_property
    def _unfinished(self) -> list[Spec]:
        store = Store(self.home)
        return [spec for spec in started_specs(self.descriptions, self.runs) if store.read(spec.id) is None]

    def specs(self) -> list[Spec]:
        """Return the runs. Raises RequestError for an id that no run has."""
        return self._unfinished

    def device_name(self) -> str:
        """Return the device, or the one kind of device that the runs were begun on."""
        kinds = sorted({spec.device for spec in self.specs()})
        if len(kinds) > 1:
            raise RequestError(f"these runs want several devices ({', '.join(kinds)}): name the runs of one")
        return self.device or (kinds[0] if kinds else "cpu")

"""The command that repeats runs, from their descriptions alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.values import show


def rerun_command(specs: Sequence[Spec]) -> str:
    """Return the command that executes runs of one method under one setting, which differ in their seeds.

    It names the value of every setting, so that it does not depend on defaults.
    """
    spec = specs[0]
    settings = {**spec.task.settings, **spec.recipe, **_prefixed(spec.model), **_prefixed(spec.method)}
    words = ["plastibench", "run", "--task", spec.task.name, "--model", spec.model.name]
    words += ["--method", spec.method.name, "--device", spec.device, "--seeds", _seeds(specs)]
    for name, value in settings.items():
        words += ["--set", f"{name}={show(value)}"]
    return shlex.join(words)


def _seeds(specs: Sequence[Spec]) -> str:
    seeds = sorted(spec.seed for spec in specs)
    if len(seeds) == seeds[-1] - seeds[0] + 1:
        return f"{seeds[0]}-{seeds[-1]}"  # a single number would be a count
    return ",".join(map(str, seeds))


def _prefixed(part: Part) -> dict[str, object]:
    return {f"{part.name}.{name}": value for name, value in part.settings.items()}

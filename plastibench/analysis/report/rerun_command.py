"""The command that makes a run again, from its description alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.values import show


def command(specs: Sequence[Spec]) -> str:
    """Return the command for runs of one method under one setting that differ in the seed.

    Every setting is written out, so that a default that changes later changes nothing here.
    """
    first = specs[0]
    words = ["plastibench", "run", "--task", first.task.name, "--model", first.model.name]
    words += ["--method", first.method.name, "--device", first.device, "--seeds", _seeds(specs)]
    settings = {**first.task_settings, **first.recipe, **_prefixed(first.model), **_prefixed(first.method)}
    for name, value in settings.items():
        words += ["--set", f"{name}={show(value)}"]
    return " ".join(shlex.quote(word) for word in words)


def _seeds(specs: Sequence[Spec]) -> str:
    seeds = sorted(spec.seed for spec in specs)
    if len(seeds) == seeds[-1] - seeds[0] + 1:
        return f"{seeds[0]}-{seeds[-1]}"
    # A number alone would be a count.
    return ",".join(map(str, seeds)) if len(seeds) > 1 else f"{seeds[0]}-{seeds[0]}"


def _prefixed(part: Part) -> dict[str, object]:
    return {f"{part.name}.{name}": value for name, value in part.settings.items()}

"""The shard of a set of runs that a job executes, and the file of known costs that it can be made from."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from plastibench.errors import RequestError, count, writing
from plastibench.experiments.shard import split, split_digest
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.system.files import write_atomic
from plastibench.workflows.request import RunOptions

logger = logging.getLogger(__name__)

MILLISECONDS = 1000
MAX_COST = 10**13
"""Most milliseconds of a run: more would overflow when a shard's are added up."""


def shard_specs(specs: Sequence[Spec], options: RunOptions, registry: Registry) -> Sequence[Spec]:
    """Return the runs of the shard that the options name; all of them if they name none.

    `specs` are all runs, the finished ones too: what is finished changes while jobs start, and so would the
    split. Raises RequestError if the costs do not cover them.
    """
    if options.shard is None:
        if options.costs is not None:
            raise RequestError("--costs means nothing without --shard: leave it out")
        return specs
    from plastibench.profiling.spec_cost import spec_costs

    costs = spec_costs(specs, registry) if options.costs is None else read_costs(options.costs, specs)
    shards = split(specs, costs, options.shard.count)
    mine = shards[options.shard.index - 1]
    logger.info(
        "shard %s: %d of %s (split %s)",
        *(options.shard, len(mine), count(len(specs), "run"), split_digest(shards)),
    )
    return mine


def shard_name(options: RunOptions) -> str:
    """Return the name of the shard that the options name, or nothing if they name none."""
    return "" if options.shard is None else f"shard {options.shard}"


def write_costs(path: Path, seconds: Mapping[str, float]) -> None:
    """Write the seconds that runs still take, by id. Raises RequestError if that is not possible."""
    costs = {run: round(MILLISECONDS * each) for run, each in seconds.items()}
    with writing(f"costs {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"milliseconds": costs}, indent=1, sort_keys=True) + "\n")


def read_costs(path: Path, specs: Sequence[Spec]) -> dict[str, int]:
    """Return the costs of runs from a file that `write_costs` wrote. Raises RequestError."""
    try:
        costs = json.loads(path.read_text(encoding="utf-8"))["milliseconds"]
        known = {str(run): _cost(cost) for run, cost in costs.items()}
    except OSError as error:
        raise RequestError(f"costs {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"{path} holds no costs of runs: `plastibench plan --save` writes them") from error
    missing = [spec for spec in specs if spec.id not in known]
    if missing:
        raise RequestError(
            f"costs {path} lack {count(len(missing), 'run')}, such as {missing[0].id} ({missing[0].name}): "
            "write the file again with `plastibench plan --save`"
        )
    return {spec.id: known[spec.id] for spec in specs}


def _cost(value: object) -> int:
    """Return the milliseconds of a run. Raises ValueError for what nobody has measured."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COST:
        raise ValueError(value)
    return value

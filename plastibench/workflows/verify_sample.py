"""Which runs of a home or of records files are executed again."""

import logging
import random
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from plastibench.devices import get_device
from plastibench.errors import DataError, RequestError, count
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.runner.context import RunContext
from plastibench.runner.data import load_checksum
from plastibench.store.record import Record
from plastibench.store.run_source import RunSource
from plastibench.training.protocol import VERSION

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draw:
    """Which runs a sample is drawn from."""

    size: int
    seed: int = 0
    """The same seed draws the same runs."""
    among: Collection[str] | None = None
    """Ids of the runs to draw from; None is all."""


def draw_sample(source: RunSource, registry: Registry, draw: Draw, *, trusted: bool) -> list[Record]:
    """Draw runs that can be executed here, as many methods as possible before a second run of one.

    `trusted` is whether source that the files hold may be executed. Raises RequestError if no run can be.
    """
    candidates = [one for one in source.records() if draw.among is None or one.id in draw.among]
    reasons = why_not_runnable(source, registry, candidates, trusted=trusted)
    by_variant: dict[str, list[Record]] = defaultdict(list)
    for record in candidates:
        if record.id not in reasons:
            by_variant[record.variant_id].append(record)
    if not by_variant:
        raise RequestError(next(iter(reasons.values()), f"no finished runs in {source.origin}"))
    if reasons:
        left_out = count(len(reasons), "run is", "runs are")
        logger.info("%s not drawn, such as: %s", left_out, next(iter(reasons.values())))
    return _in_turns(list(by_variant.values()), random.Random(draw.seed))[: draw.size]


def why_not_runnable(
    source: RunSource, registry: Registry, records: Iterable[Record], *, trusted: bool
) -> dict[str, str]:
    """Return the reason for each run that cannot be executed here, by its id."""
    reasons = {}
    for record in records:
        try:
            get_device(record.spec.device)
            check_runnable(source, registry, record, trusted)
        except RequestError as error:
            reasons[record.id] = str(error)
    return reasons


def why_no_data(records: Iterable[Record], context: RunContext) -> dict[str, str]:
    """Return the reason for each run whose data cannot be loaded here, by its id."""
    by_condition: dict[str, str] = {}
    reasons = {}
    for record in records:
        if record.condition_id not in by_condition:
            by_condition[record.condition_id] = _data_problem(record.spec, context)
        if by_condition[record.condition_id]:
            reasons[record.id] = by_condition[record.condition_id]
    return reasons


def _data_problem(spec: Spec, context: RunContext) -> str:
    """Return why the data of a run cannot be loaded; empty if they can."""
    try:
        load_checksum(spec, context)
    except (DataError, RequestError) as error:
        return str(error)
    return ""


def _in_turns(groups: list[list[Record]], draw: random.Random) -> list[Record]:
    """Return all runs in a random order in which each group has its turn before any has its second."""
    shuffled = [draw.sample(group, len(group)) for group in draw.sample(groups, len(groups))]
    rounds = range(max(map(len, shuffled)))
    return [group[place] for place in rounds for group in shuffled if place < len(group)]


def check_runnable(source: RunSource, registry: Registry, record: Record, trusted: bool) -> None:
    """Raise RequestError for a run whose code is not at hand, or is in a file that is not `trusted`."""
    kept = {(plugin.kind, plugin.name) for plugin in source.kept_plugins(record.id)}
    name = f"run {record.id} ({record.spec.name})"
    if record.spec.protocol != VERSION:
        raise RequestError(
            f"{name} was made with version {record.spec.protocol} of the protocol, and plastibench here has "
            f"{VERSION}: install the version that made it ({record.provenance.get('plastibench')})"
        )
    for kind, part in record.spec.all_parts():
        if registry.has(kind, part.name, part.code):
            continue
        path = source.plugins_path(record.id)
        if (kind, part.name) in kept and trusted:
            continue
        if (kind, part.name) in kept:
            raise RequestError(
                f"{name} needs the source of {kind} {part.name} that {path} holds: read it "
                f"(`xz -dc {path}`), then add --run-plugins to execute it"
            )
        raise RequestError(f"{name} was made with a {kind} {part.name} of another version of plastibench")

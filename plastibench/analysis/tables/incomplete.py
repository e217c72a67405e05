"""What a table lacks that was asked for: runs of other shards, that failed, or that were done before."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from plastibench.analysis.labels import method_labels
from plastibench.analysis.tables.table import ResultTable
from plastibench.errors import count
from plastibench.experiments.seeds import seed_ranges
from plastibench.experiments.spec import Spec
from plastibench.store.tuned_settings import untuned_spec


@dataclass(frozen=True)
class Asked:
    """The runs that were asked for, of which a table may have a part."""

    specs: Sequence[Spec] = ()
    part: str = ""
    """What the table has of them, such as a shard; nothing if it is to have them all."""
    failed: Collection[str] = ()
    """Ids of those that failed."""


def mark_incomplete(table: ResultTable, asked: Asked) -> ResultTable:
    """Say in the caption that a table lacks runs, and below it which; a table that has them all stays."""
    records = [record for row in table.rows for record in row.records]
    shown, condition = {record.id for record in records}, untuned_spec(records[0]).condition_id
    specs = [spec for spec in asked.specs if spec.id in shown or spec.condition_id == condition]
    missing = [spec for spec in specs if spec.id not in shown]
    if not missing:
        return table
    seeds = seed_ranges(spec.seed for spec in missing)
    runs = f"{len(specs) - len(missing)} of {count(len(specs), 'run')}"
    title = f"{table.title} ({asked.part or 'incomplete'}: {runs}, {seeds} incomplete)"
    variants, names = [spec.variant_id for spec in specs], method_labels([spec.method for spec in specs])
    labels = dict(zip(variants, names, strict=True))
    labels |= {record.variant_id: row.method for row in table.rows for record in row.records}
    lacking: dict[str, list[int]] = {}
    for spec in missing:
        failed = " (failed)" if spec.id in asked.failed else ""
        lacking.setdefault(f"{labels[spec.variant_id]} {{seeds}}{failed}", []).append(spec.seed)
    texts = [text.format(seeds=seed_ranges(each)) for text, each in sorted(lacking.items())]
    note = (
        f"{asked.part or 'incomplete'}: without {', '.join(texts)}; n counts the runs above, and "
        "`plastibench table` shows all that are finished"
    )
    return replace(table, title=title, notes=(note, *table.notes))

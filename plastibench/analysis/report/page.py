"""From result tables to one HTML page."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Collection, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from plastibench.analysis.labels import record_settings
from plastibench.analysis.report.bibliography import bibliography
from plastibench.analysis.report.board import BoardLinks, row_anchors, version_history
from plastibench.analysis.report.sentences import aggregate_sentences, headline, setting_sentences
from plastibench.analysis.stats.estimate import percent
from plastibench.analysis.tables.columns import (
    STYLES,
    available_columns,
    format_table,
    reference_notes,
    refusal_notes,
)
from plastibench.analysis.tables.notes import table_notes
from plastibench.analysis.tables.reported import reported_table
from plastibench.analysis.tables.table import ResultTable
from plastibench.analysis.tables.text_table import spread_in_small_print, typeset
from plastibench.console import Progress, no_progress
from plastibench.errors import count
from plastibench.experiments.spec import Spec
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import show
from plastibench.store import verifications
from plastibench.store.record import Record
from plastibench.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

    from plastibench.analysis.figures.style import FigureSpec

COST_FIGURE = "-cost"
"""The end of the name of the figure of accuracy against cost."""
TEMPLATES = Path(__file__).parent / "templates"
PROVENANCE = ("device", "platform", "python", "torch", "numpy", "plastibench", "commit", "data", "threads")


def render_page(
    tables: Sequence[ResultTable],
    title: str,
    progress: Progress = no_progress,
    plugins: Collection[Plugin] = (),
    board: BoardLinks | None = None,
) -> str:
    """Return an HTML page about tables; the same tables give the same text.

    `plugins` are those that are neither shipped nor installed: the page cites the papers of methods, too, and
    commands name their files. A page that is part of a site has the links of its `board`, and of the figures
    only accuracy against cost.
    `progress` shows the number of figures drawn, which takes most of the time.
    """
    from plastibench.analysis.figures import style
    from plastibench.analysis.figures.aggregate import aggregate_figures, missing_figures
    from plastibench.analysis.figures.render import inline_svg
    from plastibench.analysis.tables.aggregate import aggregate

    methods = sorted({row.method for table in tables for row in table.rows})
    names = {row.records[0].spec.method.name for table in tables for row in table.rows}
    sections = [_section(table, number, methods) for number, table in enumerate(tables, 1)]
    figures = list(aggregate_figures(tables, methods))
    if board is not None:
        figures = []
        for section in sections:
            section["figures"] = [one for one in section["figures"] if one.name.endswith(COST_FIGURE)]
    aggregated = aggregate(tables)
    with progress(len(figures) + sum(len(section["figures"]) for section in sections)) as advance:

        def svg(figure: FigureSpec) -> str:
            text = inline_svg(figure)
            advance(1)
            return text

        environment = make_environment()
        environment.globals["rerun_command"] = partial(rerun_command, plugins=plugins)
        template = environment.get_template("page.html")
        return template.render(
            title=title,
            methods=methods,
            sections=sections,
            figures=figures,
            missing_figures=[] if board else missing_figures(tables),
            board=board,
            history=version_history(tables) if board else [],
            aggregate=aggregated,
            aggregate_sentences=aggregate_sentences(aggregated) if aggregated else [],
            bibliography=bibliography(names, plugins),
            colors={name: method.color for name, method in style.method_styles(methods).items()},
            svg=svg,
            **shared_parts("page.js"),
        )


def shared_parts(*scripts: str) -> dict[str, Any]:
    """Return what every page needs: its script, made of the named ones, with its hash, and its colors."""
    from plastibench.analysis.figures import style

    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in scripts)
    return {
        "version": __version__,
        "light": list(style.DARK),
        "dark": list(style.DARK.values()),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def make_environment() -> Environment:
    """Return what renders the templates, with everything escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "typeset": typeset,
        "dim_spread": spread_in_small_print,
        "allow_breaks": allow_breaks,
    }
    environment.globals |= {"headline": headline, "setting_sentences": setting_sentences}
    environment.globals |= {
        "execution_options": execution_options,
        "record_settings": record_settings,
        "mark_of": verifications.from_record,
        "verdicts": verifications.VERDICTS,
        "self_reported": verifications.SELF_REPORTED,
        "count": count,
        "percent": percent,
    }
    return environment


def _section(table: ResultTable, number: int, methods: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows of one setting."""
    from plastibench.analysis.figures.per_setting import setting_figures

    spec = table.rows[0].records[0].spec
    return {
        "number": number,
        "name": f"{spec.task.name}, {spec.model.name}",
        "table": table,
        "anchors": row_anchors(table, number),
        "columns": format_table(table),
        "all_columns": format_table(table, STYLES["full"]),
        "notes": [
            *table_notes(table, available_columns(table)),
            *reference_notes(table),
            *refusal_notes(table),
        ],
        "reported": reported_table(table),
        "figures": list(setting_figures(table, f"setting-{number}", methods)),
        "provenance": _provenance([record for row in table.rows for record in row.records]),
    }


def _provenance(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (name, all values that the runs have)."""
    values = {
        name: sorted({str(value) for record in records if (value := record.provenance.get(name)) is not None})
        for name in PROVENANCE
    }
    return [(name, "; ".join(found) or "not recorded") for name, found in values.items()]


def rerun_command(specs: Sequence[Spec], plugins: Iterable[Plugin] = (), options: Sequence[str] = ()) -> str:
    """Return the command that executes runs of one method under one setting, which differ in their seeds.

    It names the value of every setting, so that it does not depend on defaults, and the files of plug-ins
    that are neither shipped nor installed; `options` are further ones.
    """
    spec = specs[0]
    settings = {**spec.task_settings, **spec.recipe}
    for part in (spec.model, spec.method, *spec.probes):
        settings |= {f"{part.name}.{name}": value for name, value in part.settings.items()}
    words = ["plastibench", "run", "--task", spec.task.name, "--model", spec.model.name]
    words += ["--method", spec.method.name, "--device", spec.device, "--seeds", _seeds(specs)]
    words += ["--probe", ",".join(probe.name for probe in spec.probes)] if spec.probes else []
    known, packages = _known_plugins(), {(each.kind, each.name) for each in plugins if each.is_package}
    for kind, part in spec.all_parts():
        file = f"{part.name}/__init__.py" if (kind, part.name) in packages else f"{part.name}.py"
        words += [] if part.name in known.names(kind) else ["--plugin", file]
    for name, value in settings.items():
        words += ["--set", f"{name}={show(value)}"]
    return shlex.join([*words, *options])


def execution_options(records: Sequence[Record]) -> list[str]:
    """Return the options that decide a run's bits beside its description, as far as the runs share them."""
    shared: dict[str, Any] = {}
    for name in ("threads", "devices", "deterministic", "compiler"):
        values = {record.provenance.get(name) for record in records}
        shared[name] = values.pop() if len(values) == 1 else None
    words = [] if shared["threads"] is None else ["--threads", f"{shared['threads']}"]
    words += [] if shared["devices"] is None else ["--devices", f"{shared['devices']}"]
    words += ["--deterministic"] if shared["deterministic"] else []
    return [*words, "--compile"] if shared["compiler"] else words


@cache
def _known_plugins() -> Registry:
    """Return the plug-ins that need no file to be named."""
    return Registry()


def _seeds(specs: Sequence[Spec]) -> str:
    seeds = sorted(spec.seed for spec in specs)
    if len(seeds) == seeds[-1] - seeds[0] + 1:
        return f"{seeds[0]}-{seeds[-1]}"  # a single number would be a count
    return ",".join(map(str, seeds))


def allow_breaks(name: str) -> Markup:
    """Return a name that may be broken after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))

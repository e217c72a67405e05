"""Simulate the learning framework of the DASH paper."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import FORMAT, chosen_format, print_json

if TYPE_CHECKING:
    from plastibench.analysis.tables.theory_table import Results
    from plastibench.theory.experiment import FeatureLearning

logger = logging.getLogger(__name__)


@define_command("theory", "Results")
@click.option(
    "--set",
    "settings",
    type=parsing.setting,
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completion.settings_of_class("plastibench.theory.experiment:FeatureLearning"),
    help="A setting of the framework, listed above. Can be repeated.",
)
@click.option(
    "--seeds",
    type=parsing.seeds,
    default="10",
    show_default=True,
    help=options.SEEDS_HELP,
)
@options.FORMAT
@options.JSON
@click.option(
    "--figure", type=parsing.FilePath(), metavar="FILE", help="Also draw it: FILE.svg, .pdf or .png."
)
def command(
    settings: tuple[tuple[str, str], ...],
    seeds: tuple[int, ...],
    format_: str | None,
    figure: Path | None,
    *,
    as_json: bool,
) -> None:
    """Simulate the learning framework of the DASH paper.

    How features are learned stage by stage, as in section 4: training from scratch, from the weights of the
    stage before, and from its features alone. Settings: classes, features, max_frequency, stages,
    chunk_size, gamma, tau, test_size.

    Examples:
        plastibench theory --seeds 5
        plastibench theory --set stages=10 --figure theory.pdf

    """
    from plastibench.cli.render import check_format
    from plastibench.theory.experiment import FeatureLearning
    from plastibench.workflows.theory import theory

    name = chosen_format(format_, as_json=as_json)
    check_format(name)
    chosen = FeatureLearning().from_strings(dict(settings))
    _print(chosen, theory(chosen, seeds, figure), name)
    if figure is not None:
        logger.info("figure: %s", figure.resolve())


def _print(settings: FeatureLearning, results: Results, name: str) -> None:
    from plastibench.analysis.tables.theory_table import format_theory, render_theory, theory_as_dict
    from plastibench.cli.text_tables import print_tables

    if name == FORMAT:
        print_json(**theory_as_dict(settings, results))
    elif name == "text":
        print_tables([format_theory(settings, results)])
    else:
        click.echo(render_theory(settings, results, name), nl=False)

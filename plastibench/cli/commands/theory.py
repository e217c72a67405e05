"""Simulate the learning framework of the DASH paper."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from plastibench.cli import options

logger = logging.getLogger(__name__)


@click.command("theory")
@options.SETTINGS
@click.option(
    "--seeds",
    type=options.seeds,
    default="10",
    show_default=True,
    help="How many (5), which (3,5,7) or a range (10-14).",
)
@click.option("--format", "format_", default="text", show_default=True, help="text, md, csv, latex or json.")
@click.option(
    "--figure", type=click.Path(path_type=Path), metavar="FILE", help="Also draw it: FILE.svg, .pdf or .png."
)
def command(
    settings: tuple[tuple[str, str], ...], seeds: tuple[int, ...], format_: str, figure: Path | None
) -> None:
    """Simulate how features are learned stage by stage, as in section 4 of the DASH paper.

    Training from scratch, from the weights of the stage before, and from its features alone. Settings:
    classes, features, max_frequency, stages, chunk_size, gamma, tau, test_size.
    """
    from plastibench.analysis.tables.theory_table import format_theory, render_theory
    from plastibench.cli.render import check_format, tables_text
    from plastibench.theory.experiment import FeatureLearning
    from plastibench.workflows.theory import theory

    check_format(format_)
    chosen = FeatureLearning().from_strings(dict(settings))
    results = theory(chosen, seeds, figure)
    is_text = format_ == "text"
    text = (
        tables_text([format_theory(chosen, results)]) if is_text else render_theory(chosen, results, format_)
    )
    click.echo(text, nl=False)
    if figure is not None:
        logger.info("figure: %s", figure.resolve())

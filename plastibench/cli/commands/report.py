"""Write one HTML page about finished runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from plastibench.cli import options


@click.command("report")
@options.names
@click.option("--out", type=click.Path(path_type=Path), help="The page. Default: SUITE.html, here.")
@click.option("--figures", type=click.Path(path_type=Path), help="A folder for the figures as files, too.")
@click.option("--format", "forms", default="svg", show_default=True, help="Of these files: svg, pdf, png.")
@click.option("--dark", is_flag=True, help="Write these files for a dark background, too: NAME-dark.")
@options.plugins
@options.data
@options.home
def command(out: Path | None, figures: Path | None, forms: str, *, dark: bool, **words: Any) -> None:  # noqa: ANN401
    """Write one HTML page about finished runs: of a suite, of a grid, or of everything in the home folder.

    The page holds words, tables, figures, settings and commands, and asks nothing of a network.
    """
    from plastibench.analysis.figures import parse_formats
    from plastibench.workflows.report import FigureOptions, write_report

    formats, everything = parse_formats(forms), options.names_nothing(words)
    apart = None if figures is None else FigureOptions(figures, formats, night=dark)
    sys.exit(write_report(options.request(words), out, apart, everything=everything))

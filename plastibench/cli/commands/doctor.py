"""Show what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.entries import entry_lines
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.runner.workspace import Workspace


@define_command("doctor", "Machine")
@click.option(
    "--device",
    default="cpu",
    shell_complete=completion.devices,
    show_default=True,
    help="Device to examine.",
)
@options.JSON
@options.workspace
def command(device: str, workspace: Workspace, *, as_json: bool) -> None:
    """Show this machine's versions, devices, data sets and disk.

    A GPU or another accelerator that --device names also takes 20 training steps: their losses beside the
    CPU's, how often the host waits, and operators that run on the CPU instead, if the vendor logs them.

    Examples:
        plastibench doctor
        plastibench doctor --device cuda --data DIR

    """
    from plastibench.workflows.doctor import examine

    found = examine(device, workspace)
    if as_json:
        print_json(machine=found.facts)
    else:
        for name, value in found.facts.items():
            click.echo("\n".join(entry_lines(f"{name:<14} ", value)))
    if found.problem is not None:
        raise found.problem

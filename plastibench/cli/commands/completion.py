"""Print the script that lets a shell complete words."""

import os
from pathlib import Path

import click

from plastibench.cli import parsing
from plastibench.cli.command import define_command
from plastibench.cli.completion import VARIABLE
from plastibench.errors import RequestError

SHELLS = ("bash", "zsh", "fish")


@define_command("completion", "Machine")
@click.argument("shell", type=parsing.Choice(SHELLS), required=False, metavar="[SHELL]")
@click.pass_context
def command(ctx: click.Context, shell: str | None) -> None:
    """Print the script that lets a shell complete words.

    It completes commands, options, names, settings and ids of runs. SHELL is bash, zsh or
    fish; by default the one in use.

    Examples:
        echo 'eval "$(plastibench completion bash)"' >> ~/.bashrc
        echo 'eval "$(plastibench completion zsh)"' >> ~/.zshrc
        plastibench completion fish > ~/.config/fish/completions/plastibench.fish

    """
    from click.shell_completion import get_completion_class

    from plastibench.cli import shells  # noqa: F401 - it registers how bash and zsh are served

    name = shell or Path(os.environ.get("SHELL", "")).name
    script = get_completion_class(name) if name in SHELLS else None
    if script is None:
        raise RequestError(f"no completion for the shell {name!r} (there are: {', '.join(SHELLS)})")
    program = ctx.find_root()
    click.echo(script(program.command, {}, "plastibench", VARIABLE).source(), nl=False)

"""Let a remedy act on a checkpoint file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plastibench.cli import completion, options, parsing
from plastibench.cli.command import define_command
from plastibench.cli.json_output import print_json

if TYPE_CHECKING:
    from plastibench.workflows.remedy import RemedyResult

logger = logging.getLogger(__name__)
FILE = parsing.FilePath(dir_okay=False)


@define_command("remedy", "Your own model")
@click.argument("method", metavar="NAME", shell_complete=completion.names_of("method"))
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@options.SETTINGS
@click.option(
    "--model",
    metavar="FUNCTION",
    help="Returns a newly initialized model: FILE.py:function or module:function(argument=value). Without it "
    "a remedy has the weights alone.",
)
@click.option(
    "--data",
    metavar="FUNCTION|FILE",
    help="Returns batches of (inputs, targets) in order of arrival; or a .pt, .safetensors or .npz file of "
    "both.",
)
@click.option("--loss", metavar="FUNCTION", help="Of output and targets. Default: cross-entropy.")
@click.option(
    "--fresh",
    metavar="FILE",
    multiple=True,
    help="A checkpoint of a newly initialized model. Can be repeated. Default: made by --model.",
)
@click.option("--initial", metavar="FILE", help="The checkpoint with which training started.")
@click.option(
    "--model-key", metavar="KEY", help="Place of the model's state_dict, such as model or state.net."
)
@click.option("--optimizer-key", metavar="KEY", help="Place of the optimizer's state_dict.")
@click.option("--head", "head_name", metavar="LAYER", help="Name of the layer that returns the logits.")
@click.option(
    "--stage", type=click.IntRange(min=1), default=1, help="How often new data have come. Default: 1."
)
@click.option("--chunk", "chunks", type=int, multiple=True, help="Examples that arrived together; repeat it.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=128, help="For a file of data. Default: 128."
)
@click.option(
    "--device",
    default="cpu",
    shell_complete=completion.devices,
    help=f"{completion.DEVICE_NAMES}. Default: cpu.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Of all that is drawn. Default: another one each time."
)
@options.JSON
@options.PLUGINS
def command(
    settings: tuple[tuple[str, str], ...],
    chunks: tuple[int, ...],
    plugins: tuple[Path, ...],
    *,
    as_json: bool,
    **values: Any,  # noqa: ANN401 - the fields of the request
) -> None:
    """Let a remedy act once on a checkpoint file.

    The remedy NAME acts on the model in the file OLD, and the file NEW is written. OLD is a file of
    torch.save or safetensors: a state_dict, or one among other things, such as an optimizer's and an epoch.
    What is not changed stays as it is; nothing in the file is executed.

    Examples:
        plastibench remedy shrink_perturb:dash_2024 old.pt new.pt
        plastibench remedy dash old.pt new.pt --model model.py:make --data model.py:batches

    """
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.remedy import RemedyRequest, remedy

    workspace = Workspace(plugins=plugins)
    request = RemedyRequest(settings=dict(settings), chunks=chunks or None, workspace=workspace, **values)
    result = remedy(request)
    if as_json:
        print_json(**vars(result), file=request.new)
        return
    click.echo(result.applied)
    _explain(result, request.new, seed_is_given=request.seed is not None)


def _explain(result: RemedyResult, new: Path, *, seed_is_given: bool) -> None:
    """Log where the model was in the file, and what else was there."""
    places = {"model": result.model_place, "optimizer": result.optimizer_place}
    named = [f"the {what} at {place}" for what, place in places.items() if place]
    if named:
        logger.info("found %s", " and ".join(named))
    if result.untouched:
        logger.info("left as it was: %s", ", ".join(result.untouched))
    if not seed_is_given:
        logger.info("drawn with --seed %d", result.seed)
    logger.info("wrote %s", new)

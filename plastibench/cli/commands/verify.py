"""Execute finished runs again and compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plastibench.cli import completion, options
from plastibench.cli.command import define_command
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.json_output import print_json
from plastibench.errors import count

if TYPE_CHECKING:
    from plastibench.cli.logs import ConsoleHandler
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.verify import Verification


@define_command("verify", "Results")
@click.argument("runs", nargs=-1, shell_complete=completion.run_ids, metavar="[RUN]...")
@options.RECORDS
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Draw N runs, instead of naming them."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draw.")
@click.option(
    "--run-plugins",
    is_flag=True,
    help="Execute plug-in source that a records file holds. Read it first.",
)
@click.option("--mark", is_flag=True, help="Write the outcome to verified.json beside the records file.")
@click.option(
    "--other-data",
    is_flag=True,
    help="Execute on the data found here, even if a run was made on others.",
)
@click.option(
    "--device",
    shell_complete=completion.devices,
    help="Default: the first of the kind that the run was made on.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: as many as the run had.")
@options.JSON
@options.workspace
@click.pass_obj
def command(
    handler: ConsoleHandler,
    runs: tuple[str, ...],
    records: tuple[Path, ...],
    *,
    sample: int | None,
    seed: int,
    run_plugins: bool,
    mark: bool,
    other_data: bool,
    device: str | None,
    threads: int | None,
    workspace: Workspace,
    as_json: bool,
) -> ExitCode:
    """Execute finished runs again and compare every number.

    Those in the home folder, or of a records file. RUN is an id or the beginning of one. The same device,
    number of threads, kernels, and versions of torch and plastibench give the same bits. Elsewhere a run that
    differs is judged by the 95 % prediction interval of its method's other seeds. Nothing in the home folder
    is changed. Exit status 0: all are equal, or within that interval elsewhere; 1: something differs.

    Examples:
        plastibench verify ID  # a run in the home folder; `plastibench status` prints the ids
        plastibench verify --records results/records/field-quick.jsonl.xz --sample 3  # three runs of a file

    """
    from plastibench.display.runs import RunProgress
    from plastibench.workflows.verify import VerifyRequest, verify
    from plastibench.workflows.verify_sample import Draw

    request = VerifyRequest(
        runs=runs,
        workspace=workspace,
        device=device,
        threads=threads,
        records=records,
        sample=None if sample is None else Draw(sample, seed),
        run_plugins=run_plugins,
        mark=mark,
        other_data=other_data,
    )
    with RunProgress(handler.display_console) as progress:
        results = verify(request, [progress])
    if as_json:
        print_json(runs=[_as_dict(result) for result in results])
    for line in (line for result in results for line in _lines(result) if not as_json):
        click.echo(line)
    good = all(result.verdict in ("equal", "within spread") for result in results)
    return ExitCode.SUCCESS if good else ExitCode.FAILURE


def _as_dict(result: Verification) -> dict[str, Any]:
    record = result.record
    return {
        "run": record.id,
        "name": record.spec.name,
        "stages": len(record.stages),
        "verdict": result.verdict,
        "differences": result.differences,
        "origin": result.origin,
        "spread": result.spread and result.spread.text,
        "same_training": result.same_training,
    }


def _lines(result: Verification) -> Iterator[str]:
    name = f"{result.record.id} {result.record.spec.name}"
    if result.verdict == "equal":
        yield f"{name}: all numbers of {count(len(result.record.stages), 'stage')} are equal"
        return
    if result.verdict == "not repeated":
        yield f"{name}: not repeated, {result.differences[0]}"
        return
    found = count(len(result.differences), "number differs", "numbers differ")
    yield f"{name}: {found}; the first: {result.differences[0]}"
    if result.origin:
        yield f"  made elsewhere, equal bits are not promised: {result.origin}"
    if result.same_training:
        yield "  the last weights are equal: the training was repeated to the bit"
    if result.spread is not None:
        yield f"  {result.spread.text}"

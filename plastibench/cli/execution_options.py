"""The options that say how runs are executed, and by what."""

import click

from plastibench.cli import completion, parsing
from plastibench.runner.executors.choice import EXECUTORS

SIDE_BY_SIDE = (
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Runs side by side. Default: one per CPU core.",
    ),
    click.option(
        "--devices",
        type=click.IntRange(min=1),
        metavar="N",
        default=1,
        show_default=True,
        help="Train each run on N devices of this machine together, one run at a time.",
    ),
)
EXECUTION = (
    click.option(
        "--executor",
        metavar="NAME",
        default="local",
        show_default=True,
        shell_complete=completion.one_of(*EXECUTORS),
        help="What executes the runs: local, this machine; ray, a Ray cluster.",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="The cluster. Default: RAY_ADDRESS, or a Ray instance of this machine alone.",
    ),
    click.option(
        "--device-share",
        type=float,
        metavar="FRACTION",
        help="Part of a GPU that a run on a cluster takes, such as 0.25 for four runs on each. Default: 1.",
    ),
    click.option(
        "--shard",
        type=parsing.shard,
        metavar="NUMBER/COUNT",
        help="Execute one part of the runs only, such as 1/8; the other jobs of a cluster execute the rest.",
    ),
    click.option(
        "--costs",
        type=parsing.FilePath(dir_okay=False),
        help="Divide into shards by the costs in this file, the same for all jobs.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        metavar="N",
        help="How often a run is tried again if its process is killed, by lack of memory for instance.",
    ),
    click.option(
        "--run-timeout",
        type=parsing.timeout,
        metavar="SECONDS",
        help="Stop a run at a checkpoint after this time, and report it. Default: never.",
    ),
    click.option(
        "--checkpoint-interval",
        type=parsing.seconds,
        metavar="SECONDS",
        default="60",
        show_default=True,
        help=f"Time between two checkpoints of a run; 0: after every step; {parsing.NEVER}: when stopped.",
    ),
    click.option(
        "--checkpoint-storage",
        metavar="URI",
        help="Keep the states of unfinished runs there and not in the home folder: a folder, or an address "
        "such as s3://bucket/folder.",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="Use only kernels that give the same bits each time; slower on CUDA, no difference on cpu.",
    ),
    click.option(
        "--compile",
        is_flag=True,
        help="Compile models on CUDA: some seconds a process, then faster steps; for runs of minutes.",
    ),
    click.option(
        "--estimate/--no-estimate",
        default=True,
        show_default=True,
        help="Say beforehand how long the runs will take; without earlier runs, first stages are timed.",
    ),
)

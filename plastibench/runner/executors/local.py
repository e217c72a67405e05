"""The executor of this machine: this process for one run at a time, worker processes for several."""

from plastibench.distributed.launch import launched
from plastibench.runner.context import RunContext
from plastibench.runner.executors.base import Executor
from plastibench.runner.executors.choice import ExecutorChoice
from plastibench.runner.executors.processes import ProcessExecutor
from plastibench.runner.executors.ranks import RankExecutor
from plastibench.runner.executors.serial import SerialExecutor
from plastibench.runner.executors.torchrun import TorchrunExecutor


def make(context: RunContext, _: ExecutorChoice) -> Executor:
    """Return the executor of `context.num_processes` runs side by side, or of runs on several devices."""
    if launched() is not None:
        return TorchrunExecutor(context)
    if context.devices > 1:
        return RankExecutor(context)
    return ProcessExecutor(context) if context.num_processes > 1 else SerialExecutor(context)

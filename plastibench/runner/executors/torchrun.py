"""Execute each run in the processes that torchrun has started, of which this one is the first."""

from dataclasses import replace

from plastibench.distributed.launch import Launch, launched
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunEnded, RunEvent, RunFailed, RunLocked
from plastibench.runner.executors.serial import SerialExecutor
from plastibench.runner.follow import device_of
from plastibench.runner.worker import RunWorker

OUT_OF_STEP = (
    "not executed, because the processes that torchrun has started no longer wait for each other after an "
    "error: start the same command again"
)


class TorchrunExecutor(SerialExecutor):
    """Executes the submitted run while it is polled, as the first of the processes."""

    def __init__(self, context: RunContext) -> None:
        launch, ranks = Launch.from_environment(), launched()
        assert launch is not None
        assert ranks is not None
        self.ranks = ranks
        super().__init__(context)
        self._worker = RunWorker(replace(context, device=device_of(launch, context.device)), ranks)

    def poll(self, emit: Emit) -> None:
        """Execute the submitted run to its end; after an error no other run can be executed."""
        spec = self._submitted
        if spec is not None and not self.ranks.in_step:
            self._submitted = None
            emit(RunFailed(spec, OUT_OF_STEP))
            return

        def watch(event: RunEvent) -> None:
            self.ranks.in_step = isinstance(event, RunEnded | RunLocked)
            emit(event)

        super().poll(watch)

"""Several ranks, and what they exchange through torch.distributed."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from plastibench.distributed.lost import RankLostError
from plastibench.distributed.ranks import Part, Ranks
from plastibench.distributed.sync_batch_norm import SynchronizedBatchNorm
from plastibench.distributed.watch import Watch

BUCKET_BYTES = 64 * 2**20
"""Most bytes of gradients that are copied into one piece to be summed at once."""


class RankGroup(Ranks):
    """The ranks of torch's default process group, which has been initialized."""

    def __init__(self, watch: Watch, messages: dist.ProcessGroup) -> None:
        """Exchange tensors through the default group while `watch` looks; `messages` may be waited for."""
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._watch, self._messages = watch, messages
        self.in_step = True
        """Whether all ranks wait for the next message of the first one; not while they train, or after an
        error."""

    def at(self, stage: int, epoch: int, step: int) -> None:
        """Say where the run is, in numbers from 0 on, for the message about a rank that does not come."""
        self._watch.place = stage, epoch, step

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, the same bits on all of them."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            with self._exchange(flat):
                dist.all_reduce(flat)
            sums = flat.split([tensor.numel() for tensor in bucket])
            for tensor, total in zip(bucket, sums, strict=True):
                tensor.detach().copy_(total.view(tensor.shape))

    def gather(self, x: Tensor, part: Part) -> Tensor:
        """Return the whole batch (total, ...), given the part of each rank.

        A model may give an example several rows, such as its tokens: those of one follow one another.
        """
        if not part.is_split:  # layers that draw numbers have drawn others on each rank
            whole = x.clone()
            self.copy_first_([whole])
            return whole
        rows = len(x) // (part.end - part.start)
        if rows > 1:
            return self.gather(x.unflatten(0, (-1, rows)), part).flatten(0, 1)
        sizes = [end - start for start, end in self.bounds(part.total)]
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = x
        parts = self.all_gather(padded)
        return torch.cat([own[:size] for own, size in zip(parts, sizes, strict=True)])

    def copy_first_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first rank."""
        for tensor in tensors:
            value = tensor.detach().contiguous()
            with self._exchange(value):
                dist.broadcast(value, src=0)
            if self.rank:
                tensor.detach().copy_(value)

    def synchronized(self, part: Part) -> AbstractContextManager[object]:
        """Return the context of a pass in which batch normalization sees the whole batch."""
        return SynchronizedBatchNorm(self) if part.is_split else nullcontext()

    def all_gather(self, x: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, which have the same shape."""
        gathered = [torch.empty_like(x) for _ in range(self.size)]
        with self._exchange(x):
            dist.all_gather(gathered, x.contiguous())
        return gathered

    def send(self, message: object) -> None:
        """Send a message, which can be pickled, from the first rank to all others."""
        self._pass_on([message])

    def receive(self) -> Any:  # noqa: ANN401 - whatever was sent
        """Wait for a message of the first rank, for any time, and return it."""
        messages: list[Any] = [None]
        self._pass_on(messages)
        return messages[0]

    def leave(self) -> None:
        """Leave the group, which all ranks do when there is no run left."""
        self._watch.end()
        with suppress(RuntimeError):  # others may have ended already
            dist.destroy_process_group()

    def _pass_on(self, messages: list[Any]) -> None:
        self._watch.rest()
        with _lost_if_it_fails():
            dist.broadcast_object_list(messages, 0, self._messages, torch.device("cpu"))

    @contextmanager
    def _exchange(self, tensor: Tensor) -> Iterator[None]:
        """Do in the context what all ranks do, under the watch."""
        self._watch.begin()
        with _lost_if_it_fails():
            yield
        if tensor.device.type == "cpu":  # on other devices the work has only begun
            self._watch.rest()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the tensors in pieces of one type and of a bounded size, in order."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        is_full = size + tensor.nbytes > BUCKET_BYTES
        if bucket and (is_full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


@contextmanager
def _lost_if_it_fails() -> Iterator[None]:
    """Turn an error of communication, of which torch has many types, into a RankLostError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLostError from error

"""Batches named on the command line: by a function that returns them, or by a file of two tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plastibench.errors import RequestError, explain
from plastibench.standalone import checkpoint
from plastibench.standalone.own_data import Batches
from plastibench.standalone.user_code import call_named

PAIRS = (("inputs", "targets"), ("x", "y"), ("images", "labels"))


def named_batches(text: str, batch_size: int) -> Batches:
    """Return batches of what is named: `FILE.py:function`, `module:function`, or a .pt, .safetensors or .npz.

    Raises RequestError if a file does not hold inputs and targets.
    """
    path = Path(text)
    if not path.is_file():
        if ":" in text:
            return call_named(text, "data")  # type: ignore[no-any-return]
        raise RequestError(
            f"no file at {text}, and no function: write FILE.py:function, or a file of tensors"
        )
    x, y = _pair(_content(path), path)
    if not len(x) == len(y) > 0:
        raise RequestError(f"{path} has {len(x)} inputs and {len(y)} targets")
    if x.dtype == torch.uint8:
        raise RequestError(f"the inputs in {path} are uint8: save them as the model takes them")
    return list(zip(x.split(batch_size), y.split(batch_size), strict=True))


def _content(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    if path.suffix != ".npz":
        return checkpoint.read(path).content
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays}
    except Exception as error:  # a damaged file can raise anything
        raise RequestError(f"{path} cannot be read: {explain(error)}") from error


def _pair(content: object, path: Path) -> tuple[Tensor, Tensor]:
    if isinstance(content, Mapping):
        for pair in PAIRS:
            if all(isinstance(content.get(name), Tensor) for name in pair):
                return content[pair[0]], content[pair[1]]
    elif isinstance(content, list | tuple) and len(content) == 2:
        x, y = content
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return x, y
    raise RequestError(f"{path} must hold two tensors, (inputs, targets) or named `inputs` and `targets`")

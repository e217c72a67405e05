"""Checkpoint files: what a file holds is found, changed in place, and written with all else as it was."""

from __future__ import annotations

import copy
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from plastibench.errors import RequestError, explain
from plastibench.system.files import write_atomic

SAFETENSORS = ".safetensors"


class Checkpoint(ABC):
    """The content of a file."""

    content: Any

    def __init__(self, path: Path) -> None:
        self.path = path
        self.models: dict[str, Mapping[str, Tensor]] = {}
        """State_dicts of models by their place in the file: keys joined by dots, "" for the whole file."""
        self.optimizers: dict[str, dict[str, Any]] = {}
        """State_dicts of optimizers, likewise."""

    def own(self, place: str) -> Mapping[str, Tensor]:
        """Return a model's state_dict whose tensors share no memory with anything else in the file."""
        return self.models[place]

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the content to another file, atomically."""


def read(path: Path) -> Checkpoint:
    """Return the content of a file on the CPU. Nothing in it is executed.

    Raises RequestError if it is missing, damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise RequestError(f"no file at {path}")
    return SafetensorsFile(path) if path.suffix == SAFETENSORS else TorchFile(path)


class TorchFile(Checkpoint):
    """A file of torch.save: tensors, alone or in nested dicts and lists among other plain values."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_zip = zipfile.is_zipfile(path)  # torch wrote another form before version 1.6
        self.content = _load(path)
        self._paths: dict[str, tuple[Any, ...]] = {}
        for keys, value in _mappings(self.content, ()):
            place = ".".join(map(str, keys))
            self._paths[place] = keys
            if _is_optimizer(value):
                self.optimizers[place] = value
            elif _is_state_dict(value):
                self.models[place] = value

    def own(self, place: str) -> Mapping[str, Tensor]:
        """Return a copy of a model's state_dict, which takes its place: the file may have it twice."""
        *parents, last = self._paths[place] or [None]
        holder = reduce(getitem, parents, self.content)
        if last is not None and not isinstance(holder, tuple):
            holder[last] = self.models[place] = copy.deepcopy(self.models[place])
        return self.models[place]

    def write(self, path: Path) -> None:
        """Write the content; tensors that share memory still do."""

        def save(file: BinaryIO) -> None:
            torch.save(self.content, file, _use_new_zipfile_serialization=self.is_zip)

        write_atomic(path, save)


class SafetensorsFile(Checkpoint):
    """A file of safetensors; of a changed one all bytes but those of changed tensors are the same."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise RequestError(
                f"{path} cannot be read without safetensors: pip install 'plastibench[safetensors]'"
            ) from error
        try:
            tensors = load_file(path)
        except Exception as error:  # the package's own class
            raise RequestError(f"{path} is no file of safetensors: {explain(error)}") from error
        self.content = {name: tensors[name] for name in _offsets(path)[1]}
        self.models = {"": self.content}

    def write(self, path: Path) -> None:
        """Write the bytes of the file with those of the tensors as they are now."""
        start, offsets = _offsets(self.path)
        data = bytearray(self.path.read_bytes())
        for name, (low, high) in offsets.items():
            bits = self.content[name].contiguous().flatten().view(torch.uint8)
            data[start + low : start + high] = bits.numpy().tobytes()
        write_atomic(path, memoryview(data))


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever was saved
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = str(error).partition("GLOBAL ")[2].split(" was not")[0]
        what = f" ({found})" if found else ""
        raise RequestError(
            f"{path} holds objects that could run code when they are loaded{what}: save its tensors and "
            "plain values alone, such as torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise RequestError(f"{path} cannot be read as a file of torch.save: {explain(error)}") from error


def _offsets(path: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return where the data of a file of safetensors begin, and where in them each tensor is."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    places = {name: tuple(about["data_offsets"]) for name, about in header.items() if name != "__metadata__"}
    return 8 + size, places


def _mappings(value: object, keys: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the mappings in a file with the keys that lead to them, but not those inside of a state_dict."""
    if isinstance(value, Mapping):
        yield keys, value
        items = [] if _is_optimizer(value) or _is_state_dict(value) else value.items()
    elif isinstance(value, list | tuple):
        items = [*enumerate(value)]
    else:
        return
    for key, item in items:
        yield from _mappings(item, (*keys, key))


def _is_optimizer(value: Mapping[Any, Any]) -> bool:
    return {"state", "param_groups"} <= value.keys()


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    tensors = [item for key, item in value.items() if not str(key).endswith("_extra_state")]
    return (
        bool(tensors)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(item, Tensor) for item in tensors)
        and any(item.is_floating_point() for item in tensors)
    )

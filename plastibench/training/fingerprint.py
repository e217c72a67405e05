"""A fingerprint of any object: shows whether it has changed since, and cannot be turned back into it."""

import io
import pickle
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn


def fingerprint(value: object) -> bytes:
    """Return bytes that differ if the object has changed; empty if torch and Python cannot read it.

    Modules and parameters that it refers to count by their types: their values are kept elsewhere.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(value)
    except Exception:  # an object may do anything when it is pickled
        return b""
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:  # noqa: ANN401 - as pickle calls it
        if isinstance(value, (nn.Module, nn.Parameter, ReferenceType)):
            return type(value).__qualname__
        if isinstance(value, (FunctionType, BuiltinFunctionType, MethodType, type)):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, Tensor):
            data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return str(value.dtype), tuple(value.shape), data.numpy().tobytes()
        return None

"""What plug-ins return, checked: a message names the plug-in, its file, what it returned and what it must."""

import sys
from typing import Any

from torch import Tensor, nn

from plastibench.errors import RequestError

NOT_OWN = ("plastibench", "abc", "builtins", "typing")
"""Packages whose classes are not those of a plug-in's own file."""


def named(cls: type) -> str:
    """Return the name of a plug-in's class, with its file if it is not shipped."""
    own = (part.__module__ for part in cls.__mro__ if part.__module__.partition(".")[0] not in NOT_OWN)
    file = getattr(sys.modules.get(next(own, "")), "__file__", None)
    return f"{cls.__name__} in {file}" if file else cls.__name__


def described(value: object) -> str:
    """Return what a value is, in a few words: its class, and the shape and type of a tensor."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def check_module(builder: object, model: Any) -> None:  # noqa: ANN401 - whatever a plug-in returns
    """Raise RequestError unless what the `build` or `model` of a plug-in returned is a module."""
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"{named(type(builder))} builds {described(model)}: it must return a torch.nn.Module that maps "
            "(b, *shape) to logits (b, num_classes)"
        )

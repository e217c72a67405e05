"""Words for what a plug-in has returned, and for the plug-in: messages need both."""

import sys

from torch import Tensor

NOT_OWN = ("plastibench", "torch", "abc", "builtins", "typing")
"""Packages whose classes are not those of a plug-in's own file."""


def is_own(cls: type) -> bool:
    """Return whether a class is of somebody's own file, rather than shipped."""
    return cls.__module__.partition(".")[0] not in NOT_OWN


def named(cls: type) -> str:
    """Return the name of a plug-in's class, with its file if it is not shipped."""
    own = next((part for part in cls.__mro__ if is_own(part)), None)
    file = None if own is None else getattr(sys.modules.get(own.__module__), "__file__", None)
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

"""Tags of the values of a tensor, each the number of the hidden unit that it is a function of, or `NONE`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from plastibench.plugins.layers import NORMS

NONE = -1
"""The tag of a value that depends on the images and belongs to no single unit."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


MOVES = _words(
    "flatten view reshape permute transpose t squeeze unsqueeze movedim swapaxes cat concat concatenate",
    "stack chunk split unbind __getitem__ getitem narrow select expand flip roll unflatten view_as",
    "reshape_as",
)
"""Functions that only move values."""
ELEMENTWISE = _words(
    "relu relu6 gelu silu mish elu celu selu leaky_relu rrelu prelu threshold hardtanh hardswish",
    "hardsigmoid softplus softsign sigmoid logsigmoid tanh tanhshrink softshrink hardshrink sin cos exp log",
    "sqrt rsqrt abs neg square pow sign clamp clamp_min clamp_max clip add sub mul div truediv true_divide",
    "radd rsub rmul rtruediv maximum minimum where dropout dropout1d dropout2d dropout3d alpha_dropout",
    "feature_alpha_dropout to float double half bfloat16 type type_as contiguous clone detach gt lt ge le",
    "nan_to_num lerp addcmul",
)
"""Functions of single values; of several tensors, if they belong to the same units."""
POOLING = frozenset(
    f"{adaptive}{kind}_pool{n}d"
    for adaptive in ("", "adaptive_")
    for kind in ("max", "avg", "lp")
    for n in (1, 2, 3)
)
"""Functions that pool over the last dimensions."""
REDUCTIONS = _words("mean sum amax amin")
"""Functions that reduce over chosen dimensions."""
QUERIES = _words("__get__ size dim __len__ numel is_contiguous stride")
"""Functions that read no value, if they return no tensor."""


def is_layer_of_units(module: nn.Module) -> bool:
    """Return whether a module is a linear layer or a convolution whose weights are not in groups."""
    return isinstance(module, nn.Linear) or (isinstance(module, _ConvNd) and module.groups == 1)


def unit_dim(module: nn.Module) -> int:
    """Return which of dimensions 0 and 1 of a layer's weight indexes its units; the other one its inputs."""
    return 1 if isinstance(module, _ConvTransposeNd) else 0


def feature_tags(module: nn.Module, tags: Tensor) -> Tensor | None:
    """Return the tag of each feature of a module's input, or None if it has no single one."""
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        rows = tags.flatten(-len(module.normalized_shape)).flatten(0, -2)
    elif isinstance(module, nn.Linear):
        rows = tags.flatten(0, -2)
    elif isinstance(module, NORMS) or is_layer_of_units(module):
        rows = tags.movedim(1, -1).flatten(0, -2)
    else:
        return None
    return rows[0] if bool((rows == rows[0]).all()) else None


def common_tags(tags: list[Tensor]) -> Tensor | None:
    """Return the tags that tensors have in common, or None if they differ."""
    return tags[0] if all(torch.equal(tags[0], other) for other in tags[1:]) else None


def pooled_tags(tags: Tensor, shape: torch.Size) -> Tensor | None:
    """Return the tags after pooling over the last dimensions, or None if it mixes units."""
    channels = tags.flatten(2)
    first = channels[:, :, :1]
    if not torch.equal(channels, first.expand_as(channels)):
        return None
    return first.reshape(*tags.shape[:2], *[1] * (len(shape) - 2)).expand(shape)


def reduced_tags(tags: Tensor, dim: Any = (), keepdim: bool = False, **_: Any) -> Tensor | None:  # noqa: ANN401
    """Return the tags after a reduction over dimensions, or None if it mixes units."""
    low, high = tags.amin(dim, keepdim), tags.amax(dim, keepdim)
    return low if torch.equal(low, high) else None


def entries_of_units(features: Tensor, first: int, count: int) -> Tensor | None:
    """Return the features (units, k) of `count` units from tag `first` on, or None if there are none.

    Returns an empty tensor if not all units have the same number of them.
    """
    (entries,) = torch.where((features >= first) & (features < first + count))
    if not len(entries):
        return None
    tags = features[entries]
    sizes = tags.bincount(minlength=first + count)[first:]
    if not bool((sizes == sizes[0]).all()):
        return torch.empty(0)
    return entries[torch.argsort(tags, stable=True)].view(count, -1)

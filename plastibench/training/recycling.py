"""Recycle hidden units: new incoming weights, a normalization as new, no outgoing weights, no momentum."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from plastibench.training.hidden_units import HiddenUnits, UnitEntries
from plastibench.training.learner import Learner


def recycle_units(
    learner: Learner, layers: Sequence[HiddenUnits], masks: Sequence[Tensor], fresh: Sequence[Tensor]
) -> None:
    """Recycle the units that are set in `masks`, one (units,) for each layer; the host does not wait.

    Their incoming weights become those of `fresh`, which have the shapes of the layers' weights, and their
    bias 0; the scale and shift of their normalization 1 and 0, its running statistics 0 and 1; their outgoing
    weights 0, to units that are recycled as well. The optimizer's state of all these entries becomes 0, but
    for the step count, of which a parameter has only one. Frozen parameters stay as they are.
    """
    for units, mask, weight in zip(layers, masks, fresh, strict=True):
        layer = units.incoming.module
        _replace(learner, layer.weight, units.incoming.spread(mask, layer.weight), weight)
        if layer.bias is not None:
            _replace(learner, layer.bias, units.incoming.spread(mask, layer.bias), 0.0)
        for norm in units.norms:
            _renew_norm(learner, norm, mask)
    for units, mask in zip(layers, masks, strict=True):
        for part in units.outgoing:
            _replace(learner, part.module.weight, part.spread(mask, part.module.weight), 0.0)


def _renew_norm(learner: Learner, norm: UnitEntries, mask: Tensor) -> None:
    for name, value in (("weight", 1.0), ("bias", 0.0)):
        parameter = getattr(norm.module, name, None)
        if parameter is not None:
            _replace(learner, parameter, norm.spread(mask, parameter), value)
    if isinstance(norm.module, _NormBase) and norm.module.running_mean is not None:
        for statistic, value in ((norm.module.running_mean, 0.0), (norm.module.running_var, 1.0)):
            assert statistic is not None, "torch keeps both or none"
            statistic.masked_fill_(norm.spread(mask, statistic), value)


def _replace(learner: Learner, parameter: nn.Parameter, mask: Tensor, value: Tensor | float) -> None:
    if not parameter.requires_grad:
        return
    if isinstance(value, Tensor):
        parameter.copy_(value.where(mask, parameter))
    else:
        parameter.masked_fill_(mask, value)
    learner.reset_optimizer_entries(parameter, mask)

"""The state of an optimizer in a file, as an optimizer whose state a remedy may change."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.standalone.unknown_groups import UnknownGroups

UNKNOWN = (
    "it is not known which parameters of the model the optimizer in the file has: make it from "
    "model.named_parameters(), which saves their names, or give --model if it tells more"
)


class StoredOptimizer(Optimizer):
    """Groups and state of a state_dict, by the parameters of a model."""

    def __init__(self, stored: dict[str, Any], parameters: dict[int, nn.Parameter]) -> None:
        self._stored, self._index = stored, {parameter: i for i, parameter in parameters.items()}
        groups = [
            {**group, "params": [parameters[i] for i in group["params"]]} for group in stored["param_groups"]
        ]
        super().__init__(groups, {})
        self.state.update({parameters[i]: state for i, state in stored["state"].items()})

    def store(self) -> None:
        """Write what has changed into the state_dict."""
        state = self._stored["state"]
        for parameter, i in self._index.items():
            if parameter not in self.state:
                state.pop(i, None)
        self._stored["param_groups"] = [
            {**group, "params": [self._index[p] for p in group["params"]]} for group in self.param_groups
        ]


def stored_optimizer(stored: dict[str, Any], model: nn.Module) -> Optimizer:
    """Return the optimizer in a file; without its groups if it is not known which parameters it has."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: dict[int, nn.Parameter] = {}
    groups = stored["param_groups"]
    for group in groups:
        names = group.get("param_names")
        if names is not None and set(names) <= trained.keys():
            found |= dict(zip(group["params"], (trained[name] for name in names), strict=True))
    if not found and len(groups) == 1 and len(groups[0]["params"]) == len(trained):
        found = dict(zip(groups[0]["params"], trained.values(), strict=True))
    indices = {i for group in groups for i in group["params"]}
    if found.keys() != indices or not all(_fits(stored["state"].get(i, {}), p) for i, p in found.items()):
        return UnknownGroups(UNKNOWN, stored["state"])
    return StoredOptimizer(stored, found)


def _fits(state: dict[str, Any], parameter: nn.Parameter) -> bool:
    """Return whether a state has an entry of the shape of the parameter, or none but numbers."""
    shapes = {value.shape for value in state.values() if isinstance(value, Tensor) and value.dim()}
    return not shapes or parameter.shape in shapes

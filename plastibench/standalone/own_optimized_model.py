"""Somebody's own optimizer: its state is cleared in place, whatever its class, and it is never replaced."""

from collections.abc import Iterable

from torch import Tensor

from plastibench.errors import RequestError
from plastibench.standalone.own import Own
from plastibench.standalone.unknown_groups import UnknownGroups
from plastibench.training.optimized_model import OptimizedModel

STARTS_AT_ZERO = {"step", "momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
"""Entries of an optimizer's state that are 0 before the first step."""
STARTS_AT = {"step_size": "lr", "sum": "initial_accumulator_value"}
"""Entries of the state of other optimizers that start at an option of their group: Rprop's and Adagrad's."""


class OwnOptimizedModel(OptimizedModel):
    """A model and its optimizer that are somebody's own."""

    own: Own

    def reset_optimizer(self) -> None:
        """Clear the optimizer's state; groups and options stay."""
        self.optimizer.state.clear()

    def clear_optimizer_state(self) -> None:
        """Reset momentum and moments of all parameters; parameter groups keep their options."""
        self.optimizer.state.clear()

    def reset_optimizer_state(self, parameters: Iterable[Tensor]) -> None:
        """Reset momentum and moments of some parameters only."""
        for parameter in parameters:
            state = self.optimizer.state.get(parameter, {})
            is_zero_at_first = state.keys() <= STARTS_AT_ZERO
            if is_zero_at_first and all(isinstance(value, Tensor) for value in state.values()):
                super().reset_optimizer_state([parameter])
            else:
                self.optimizer.state.pop(parameter, None)

    def reset_optimizer_entries(self, parameter: Tensor, mask: Tensor) -> None:
        """Reset momentum and moments of some entries; `mask` is boolean and broadcasts to the parameter."""
        super().reset_optimizer_entries(parameter, mask)
        state = self.optimizer.state.get(parameter, {})
        for name in state.keys() & STARTS_AT.keys():
            group = next(g for g in self.optimizer.param_groups if any(p is parameter for p in g["params"]))
            state[name].masked_fill_(mask, float(group.get(STARTS_AT[name], 0.0)))

    def check_optimizer(self) -> None:
        """Raise RequestError if the optimizer leaves out what the model trains, or has what it has not."""
        if isinstance(self.optimizer, UnknownGroups):
            return
        held = {parameter for group in self.optimizer.param_groups for parameter in group["params"]}
        named = dict(self.own.model.named_parameters())
        missing = [name for name, weight in named.items() if weight.requires_grad and weight not in held]
        if missing:
            raise RequestError(
                f"the optimizer does not have {', '.join(missing[:5])} of the model: freeze what you do not "
                "train, by requires_grad_(False), or leave the optimizer out and treat its state yourself"
            )

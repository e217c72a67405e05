"""What a remedy changes of the recipe, applied to one's own optimizer as far as that is an option of it."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from plastibench.errors import RequestError
from plastibench.plugins.method import Method
from plastibench.plugins.values import show
from plastibench.standalone.own_task import kind_of

OPTIONS = {"learning_rate": "lr", "momentum": "momentum", "weight_decay": "weight_decay"}
"""Settings of a recipe that are options of an optimizer's groups."""
OF_THE_LOOP = {
    "augment": "augment the images in your data loader",
    "schedule": "use a scheduler of torch",
    "milestones": "use a scheduler of torch",
    "decay": "use a scheduler of torch",
    "warmup_epochs": "use a scheduler of torch",
}


def apply_recipe_changes(method: Method, optimizer: Optimizer | None) -> None:
    """Set options of all parameter groups. Raises RequestError for what only the loop's owner can change."""
    changes, name = dict(method.recipe_changes()), type(method).__name__
    if not changes:
        return
    if optimizer is None:
        raise RequestError(f"{name} changes the optimizer: give it")
    wanted, kind = changes.pop("optimizer", None), kind_of(optimizer)
    if wanted is not None and wanted != kind:
        raise RequestError(
            f"{name} cannot act with {type(optimizer).__name__}: it is a way to train, with the optimizer "
            f"{wanted}"
        )
    for setting, value in changes.items():
        if setting in OF_THE_LOOP:
            raise RequestError(
                f"{name} trains with {setting}={show(value)}, which is your loop's to do: "
                f"{OF_THE_LOOP[setting]}"
            )
        if setting in OPTIONS:
            _set_option(optimizer, OPTIONS[setting], value)


def _set_option(optimizer: Optimizer, option: str, value: Any) -> None:  # noqa: ANN401 - a setting
    for group in optimizer.param_groups:
        if option == "momentum" and "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        elif option in group:
            group[option] = value
        elif value:
            raise RequestError(f"{type(optimizer).__name__} has no {option}, which is to be {show(value)}")

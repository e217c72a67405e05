"""A remedy acts between two stages: what changes is reported, and a failure leaves the model as it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.errors import RequestError, count
from plastibench.plugins.layers import untouched_parameters
from plastibench.plugins.method import Method
from plastibench.standalone.own_learner import OwnLearner
from plastibench.standalone.tensors import differ, set_tensors, tensors_of
from plastibench.standalone.unknown_groups import UnknownGroups
from plastibench.training.protocol import prepare_stage


@dataclass(frozen=True, kw_only=True, repr=False)
class Applied:
    """What a remedy has done."""

    method: str
    changed: tuple[str, ...]
    """The tensors of the model's state_dict with new values."""
    num_tensors: int
    """Of the state_dict."""
    left_out: tuple[str, ...]
    """Trained parameters in layers of classes that lists of weights do not know, if the remedy lists some."""
    optimizer_state: str
    """The method's policy: keep, clear or its own; none without an optimizer."""
    options: tuple[str, ...]
    """Options of the optimizer's groups with new values, such as lr."""
    batch_norm: str
    """The method's policy for running statistics: keep, reset or reestimate; none without any."""
    passes: int
    """Examples passed forward and backward."""
    forwards: int
    """Examples passed forward only."""
    seconds: float
    logged: Mapping[str, float | None] = field(default_factory=dict)
    """What the method reports of itself."""

    def __repr__(self) -> str:
        """Return the line, not the names of all tensors."""
        return f"<{type(self).__name__} {self}>"

    def __str__(self) -> str:
        """Return one line for people."""
        parts = [f"{len(self.changed)} of {count(self.num_tensors, 'tensor')} changed"]
        if self.left_out:
            others = f" and {len(self.left_out) - 1} others" if len(self.left_out) > 1 else ""
            parts.append(f"left out, in layers of unknown classes: {self.left_out[0]}{others}")
        parts.append(f"optimizer state: {self.optimizer_state}")
        if self.options:
            parts.append(f"changed: {', '.join(self.options)}")
        parts.append(f"running statistics: {self.batch_norm}")
        if self.passes or self.forwards:
            passes = f"{count(self.passes, 'example')} forward and backward" if self.passes else ""
            forwards = f"{count(self.forwards, 'example')} forward" if self.forwards else ""
            parts.append(", ".join(part for part in (passes, forwards) if part))
        parts += [f"{name} {value}" for name, value in self.logged.items()]
        return f"{self.method}: {'; '.join(parts)}; {self.seconds:.2f} s"


def act(learner: OwnLearner, method: Method) -> Applied:
    """Let a method act before the stage that has begun, as the protocol does.

    Whatever it raises, the model's tensors and modes are then as before.
    """
    learner.trains = learner.own.model.training
    options = _options(learner.optimizer)
    with _undone_if_it_fails(learner.own.model) as before, _base_rates(learner.optimizer):
        prepare_stage(learner, method)
        changed = tuple(
            name for name, value in tensors_of(learner.own.model).items() if differ(before[name], value)
        )
        _check_finite(learner.own.model, changed, method)
    cost = learner.cost
    has_optimizer = learner.own.optimizer is not None
    return Applied(
        method=type(method).__name__,
        changed=changed,
        num_tensors=len(before),
        left_out=tuple(name for name in untouched_parameters(learner.own.model) if name not in changed),
        optimizer_state=method.optimizer_state if has_optimizer else "none",
        options=_changed_options(options, _options(learner.optimizer)),
        batch_norm=method.batch_norm if any(name.endswith("running_var") for name in before) else "none",
        passes=cost.remedy_passes,
        forwards=cost.remedy_forwards,
        seconds=cost.phases["remedy"].seconds,
        logged={name.partition(".")[2]: value for name, value in learner.logged().items()},
    )


def _check_finite(model: nn.Module, changed: Collection[str], method: Method) -> None:
    """Raise RequestError if a value that was set is infinite or not a number, as those of bad data become."""
    for name, value in tensors_of(model).items():
        if name in changed and value.is_floating_point() and not bool(value.isfinite().all()):
            raise RequestError(
                f"{type(method).__name__} would leave values in {name} that are not finite: there are such "
                "values in the batches or in the model, which is left as it was"
            )


def _options(optimizer: Optimizer) -> dict[Tensor, dict[str, Any]]:
    """Return the options that each parameter is trained with."""
    if isinstance(optimizer, UnknownGroups):
        return {}
    return {
        parameter: {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def _changed_options(
    before: Mapping[Tensor, Mapping[str, Any]], after: Mapping[Tensor, Mapping[str, Any]]
) -> tuple[str, ...]:
    pairs = ((before.get(parameter, {}), options) for parameter, options in after.items())
    return tuple(sorted({name for old, new in pairs for name in new if old.get(name) != new[name]}))


def own_model(model: object) -> nn.Module:
    """Return a model as it was before torch.compile. Raises RequestError for what cannot be changed alone."""
    if not isinstance(model, nn.Module):
        raise RequestError(f"model={type(model).__name__} is not allowed: it must be a torch.nn.Module")
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise RequestError(
            f"the model is wrapped in {type(model).__name__}: give model.module, and the same data and seed "
            "in every process"
        )
    plain: nn.Module = getattr(model, "_orig_mod", model)
    return plain


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter. Raises RequestError if it has none."""
    first = next(model.parameters(), None)
    if first is None:
        raise RequestError("the model has no parameter: there is nothing to act on")
    return first.device


def resolved_seed(seed: int | None, generator: torch.Generator | None) -> int:
    """Return the seed, or one that is drawn from a generator; by default from torch's global one."""
    if seed is not None and generator is not None:
        raise RequestError(f"give either seed={seed} or generator, not both")
    if seed is not None:
        return seed
    device = None if generator is None else generator.device
    return int(torch.randint(2**62, (), generator=generator, device=device))


@contextmanager
def _undone_if_it_fails(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a copy of the model's tensors, to which it returns if something is raised; so do its modes."""
    before = {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield before
    except BaseException:
        set_tensors(model, before)
        raise
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _base_rates(optimizer: Optimizer) -> Iterator[None]:
    """Let every group have its base rate as `initial_lr`, as torch's schedulers keep it.

    A rate that changes in the context is the new base rate. Groups without a scheduler lose it again.
    """
    if isinstance(optimizer, UnknownGroups):
        yield
        return
    had = any("initial_lr" in group for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", float(group["lr"]))
    before = {id(group): float(group["lr"]) for group in optimizer.param_groups}
    try:
        yield
    finally:
        for group in optimizer.param_groups:
            if float(group["lr"]) != before.get(id(group)):
                group["initial_lr"] = float(group["lr"])
            if not had:
                group.pop("initial_lr", None)

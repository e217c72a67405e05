"""Let a remedy act once, in place, on one's own model and optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from plastibench.errors import RequestError
from plastibench.plugins.method import Method, call_hook
from plastibench.standalone.acting import Applied, act, device_of, own_model, resolved_seed
from plastibench.standalone.fresh_models import Fresh, FreshModels, Weights
from plastibench.standalone.named_method import MethodName, make_method
from plastibench.standalone.own import Loss, Own
from plastibench.standalone.own_data import Batches, BatchSource
from plastibench.standalone.own_learner import OwnLearner
from plastibench.standalone.own_task import HiddenUnitNames

ELSEWHERE = {
    "build": "it trains another model: build yours so before you train it",
    "recipe_changes": "it changes how the model is trained: use plastibench.remedy in your loop",
    "loss_term": "it adds to the loss of every step: use plastibench.remedy in your loop",
    "after_step": "it acts after every step: use plastibench.remedy in your loop",
    "evaluated": "it evaluates another model than it trains: use plastibench.remedy in your loop",
}
"""Why a method with such a hook cannot act once."""


def apply(
    method: MethodName,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    batches: Batches | None = None,
    loss: Loss | None = None,
    *,
    fresh: Fresh | None = None,
    initial: Weights | None = None,
    chunks: tuple[int, ...] | None = None,
    stage: int = 1,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    head_name: str | None = None,
    hidden_units: HiddenUnitNames | None = None,
    **settings: Any,  # noqa: ANN401 - whatever the method takes
) -> Applied:
    """Let a remedy that acts between stages act once, in place: new data have come, and training goes on.

    The optimizer's state and the running statistics of batch normalization are treated as the method
    declares. Frozen weights stay; modes are as before. If something is raised, the model is as before.

    Args:
        method: A name, `name:preset`, or a class or instance of `Method`.
        model: Any module. What requires a gradient is what the remedy acts on.
        optimizer: Any optimizer of torch. Without it, its state is left to you.
        batches: The data to be trained on next, in order of arrival: an iterable of (inputs, targets), or of
            mappings with `labels`. Needed by remedies that look at data. What can be read only once is kept
            in memory.
        loss: Returns the mean loss of a batch, `loss(output, targets)`. Default: the model's own `loss` if
            its output has one, else cross-entropy.
        fresh: A function that returns a newly initialized model; or such a model or state_dict, or a list of
            them. Default: a copy of the model whose layers have all called `reset_parameters`.
        initial: The model, or its state_dict, as it was when training started. Default: newly initialized.
        chunks: How many examples of `batches` arrived together, oldest first. Default: all at once.
        stage: How often new data have come.
        seed: Of all that is drawn. Default: drawn from `generator`.
        generator: Default: torch's global one.
        head_name: Name of the layer that returns the logits. Default: found by a pass of zeros.
        hidden_units: What the units of each layer feed, as `Architecture.hidden_units`. Default: found.
        **settings: Of the method.

    Returns:
        What has changed, and what the method reports.

    Raises:
        RequestError: If the method does not exist, acts within steps, or needs what is missing.

    Example:
        >>> plastibench.apply("shrink_perturb", model, optimizer, fresh=make_model)
        >>> plastibench.apply("dash", model, optimizer, loader, floor=0.1)

    """
    made = make_method(method, settings)
    check_acts_once(made)
    model, name = own_model(model), type(made).__name__
    source = None if batches is None else BatchSource(batches, device_of(model))
    own = Own(
        model=model,
        optimizer=optimizer,
        loss=loss,
        fresh=FreshModels(model, fresh, name),
        initial=initial,
        seed=resolved_seed(seed, generator),
        head_name=head_name,
        hidden_units=hidden_units,
    )
    return apply_once(made, own, source, chunks=chunks, stage=stage)


def apply_once(
    method: Method, own: Own, source: BatchSource | None, *, chunks: tuple[int, ...] | None, stage: int
) -> Applied:
    """Let a method act before a stage; what it notes at the start of training, it notes first."""
    if stage < 1:
        raise RequestError(
            f"stage={stage} is not allowed: it is 1 when new data have come for the first time"
        )
    learner = OwnLearner(own, method)
    check_supported(method, learner)
    learner.new_stage(0, source, chunks)
    with torch.no_grad(), learner.at_the_start():
        call_hook(method, "start", learner)
    learner.new_stage(stage, source, chunks)
    return act(learner, method)


def check_acts_once(method: Method) -> None:
    """Raise RequestError for a method that does more than to act between stages."""
    hooks = method.own_hooks()
    for hook, reason in ELSEWHERE.items():
        if hook in hooks:
            raise RequestError(f"{type(method).__name__} cannot act once: {reason}")


def check_supported(method: Method, learner: OwnLearner) -> None:
    """Raise RequestError if the method says that it cannot act on the model."""
    reason = method.unsupported(learner.task)
    if reason is not None:
        raise RequestError(f"{type(method).__name__} cannot act on this model: {reason}")

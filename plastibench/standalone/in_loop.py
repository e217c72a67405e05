"""A remedy in one's own training loop: within its steps, between its stages, and in its checkpoints."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastibench.errors import RequestError
from plastibench.plugins.fields import settings_of
from plastibench.plugins.method import Method, call_hook
from plastibench.standalone.acting import Applied, act, device_of, own_model, resolved_seed
from plastibench.standalone.fresh_models import Fresh, FreshModels, Weights
from plastibench.standalone.named_method import MethodName, make_method
from plastibench.standalone.once import check_supported
from plastibench.standalone.own import Loss, Own, logits_of
from plastibench.standalone.own_data import Batches, BatchSource
from plastibench.standalone.own_learner import OwnLearner
from plastibench.standalone.own_recipe import apply_recipe_changes
from plastibench.standalone.own_task import HiddenUnitNames
from plastibench.standalone.pass_watch import PassWatch
from plastibench.training.loss_term import call_loss_term
from plastibench.training.state import load_method_state, method_state


class Remedy:
    """A remedy in one's own loop. `plastibench.remedy` makes it.

    It acts after each `optimizer.step()` by a hook of the optimizer, adds `loss_term()` to the loss, and acts
    between stages in `next_stage()`. `with` or `close()` takes its hooks out of model and optimizer.
    """

    def __init__(self, method: Method, learner: OwnLearner, *, hook: bool) -> None:
        """Use `remedy`."""
        self._method, self._learner, self._name = method, learner, type(method).__name__
        optimizer = learner.own.optimizer
        self._hook = None
        if hook and optimizer is not None:
            if not hasattr(optimizer, "_optimizer_step_post_hooks"):  # a wrapper that has not called its base
                raise RequestError(
                    f"{type(optimizer).__name__} takes no hooks: make the remedy with hook=False, and call "
                    "after_step() after each step"
                )
            self._hook = optimizer.register_step_post_hook(lambda *_: self._step())
        self._passes = PassWatch(learner)

    def loss_term(self, logits: Any = None, y: Tensor | None = None) -> Tensor | float:  # noqa: ANN401
        """Return what the remedy adds to the loss of the step; 0.0 if it adds nothing.

        `logits` are by default what the model returned last, in training mode; `y` are the targets, which few
        remedies need.
        """
        output = self._passes.output if logits is None else logits
        try:
            return call_loss_term(self._method, self._learner, logits_of(output), y)  # type: ignore[arg-type]
        except (AttributeError, TypeError) as error:
            if output is None or y is None:
                raise RequestError(
                    f"{self._name} needs logits and targets: loss_term(logits, y) ({error})"
                ) from error
            raise

    def after_step(self) -> None:
        """Act after an update of the weights. Only if the optimizer has no hook that does it."""
        if self._hook is not None:
            raise RequestError(
                "the optimizer calls after_step itself: leave it out, or make it with hook=False"
            )
        self._step()

    def _step(self) -> None:
        learner = self._learner
        if learner.watching and learner.activations is None:
            raise RequestError(
                f"{self._name} watches the activations of a step, and saw no pass of the model in training "
                "mode: call the model itself, not its forward nor a compiled copy of it"
            )
        learner.step += 1
        with torch.no_grad():
            call_hook(self._method, "after_step", learner)
        learner.cost.steps += 1
        self._passes.end_step()

    def next_stage(self, batches: Batches | None = None, *, chunks: tuple[int, ...] | None = None) -> Applied:
        """End the stage and act before the next one, whose data are `batches`, in order of arrival.

        `chunks` says how many of them arrived together, oldest first. If something is raised, the model is as
        before, and the stage has not ended.
        """
        learner = self._learner
        before = learner.stage, learner.source
        source = None if batches is None else BatchSource(batches, learner.device.torch_device)
        self.evaluated_model()
        call_hook(self._method, "after_stage", learner)
        try:
            learner.new_stage(learner.stage.index + 1, source, chunks)
            return act(learner, self._method)
        except BaseException:
            learner.stage, learner.source = before
            raise

    def evaluated_model(self) -> nn.Module:
        """Return the model to evaluate: the one that is trained, unless the remedy has another one."""
        return self._learner.evaluated_model()

    def logged(self) -> dict[str, float | None]:
        """Return what the remedy reports of the stage so far, by name."""
        return {name.partition(".")[2]: value for name, value in self._learner.logged().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint beside those of the model and the optimizer.

        It has numbers, text and tensors alone, so `torch.load` reads it with `weights_only=True`.
        """
        return {
            "method": self._name,
            "settings": settings_of(self._method),
            "kept": method_state(self._learner, self._method),
            "learner": self._learner.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; model and optimizer have loaded theirs.

        Raises RequestError for the state of another method, or of other settings.
        """
        own, given = ((one["method"], one["settings"]) for one in (self.state_dict(), state))
        if own != given:
            raise RequestError(f"the state is that of {given[0]} {given[1]}, and this is {own[0]} {own[1]}")
        self._learner.load_state_dict(state["learner"])
        load_method_state(self._method, state["kept"], self._learner)

    def close(self) -> None:
        """Take the hooks out of the model and the optimizer; the loop goes on without the remedy."""
        self._passes.close()
        if self._hook is not None:
            self._hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def remedy(
    method: MethodName,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    batches: Batches | None = None,
    loss: Loss | None = None,
    *,
    fresh: Fresh | None = None,
    initial: Weights | None = None,
    chunks: tuple[int, ...] | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    head_name: str | None = None,
    hidden_units: HiddenUnitNames | None = None,
    hook: bool = True,
    **settings: Any,  # noqa: ANN401 - whatever the method takes
) -> Remedy:
    """Put a remedy into one's own loop, which is about to train the first stage.

    Args:
        method, model, optimizer, loss: As for `apply`.
        fresh, chunks, seed, generator, head_name, hidden_units: As for `apply`.
        batches: The data of the first stage, for remedies that look at them or at their number.
        initial: The model, or its state_dict, as it was when training started. Default: as it is now.
        hook: Whether the remedy acts by itself after each `optimizer.step()`. Otherwise call `after_step()`.
        **settings: Of the method.

    Returns:
        The remedy: a context manager that takes its hooks out in the end.

    Raises:
        RequestError: If the method does not exist, needs another model or optimizer, or something that is
            missing.

    Example:
        >>> with plastibench.remedy("l2_init", model, optimizer) as remedy:
        ...     for x, y in loader:
        ...         loss = F.cross_entropy(model(x), y) + remedy.loss_term()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()

    """
    made = make_method(method, settings)
    model, name = own_model(model), type(made).__name__
    if "build" in made.own_hooks():
        raise RequestError(
            f"{name} trains another model: build yours so before you train it, by the layers that it names"
        )
    source = None if batches is None else BatchSource(batches, device_of(model))
    apply_recipe_changes(made, optimizer)
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
    learner = OwnLearner(own, made)
    check_supported(made, learner)
    learner.new_stage(0, source, chunks)
    _start(learner, made)
    return Remedy(made, learner, hook=hook)


def _start(learner: OwnLearner, method: Method) -> None:
    """Let the method prepare the first stage, at the initial weights if they are others than now."""
    if learner.own.initial is None:
        act(learner, method)
        return
    with torch.no_grad(), learner.at_the_start():
        call_hook(method, "start", learner)

"""The contract of a remedy: settings, three policies, and eight hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from plastibench.errors import RequestError, unknown
from plastibench.plugins.fields import Settings, setting_names, settings_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plastibench.plugins.task import Task
    from plastibench.training.learner import Learner

OptimizerStatePolicy = Literal["keep", "clear"]
"""What happens to momentum and moments between stages."""
BatchNormPolicy = Literal["keep", "reset", "reestimate"]
"""What happens to running statistics between stages: kept, set to (0, 1), or measured again."""

ACTING = ("build", "start", "before_stage", "loss_term", "after_step", "after_stage", "evaluated")
"""The hooks that can change a run."""
_EMPTY_BODY = len((lambda: None).__code__.co_code)


@dataclass(kw_only=True)
class Method(Settings):
    """A remedy. A subclass is a dataclass: its init fields are settings, its other fields are state.

    Before each stage either `start` or `before_stage` runs. A hook may read and change what the learner
    offers, and nothing else; it must draw random numbers from `learner.generator`.
    """

    optimizer_state: OptimizerStatePolicy = "keep"
    """What happens to momentum and moments between stages: kept, or cleared."""
    batch_norm: BatchNormPolicy = "keep"
    """What happens to running statistics between stages: kept, set to mean 0 and variance 1 (reset), or
    measured on the training data (reestimate)."""

    disabled: ClassVar[Mapping[str, Any] | None] = None
    """Settings with which the remedy does nothing: the run equals a warm start bit for bit. An empty mapping
    declares a control, which does nothing on purpose."""
    active: ClassVar[Mapping[str, Any]] = {}
    """Settings with which the remedy acts within a few steps, for the laws, if the defaults do not: a lower
    threshold, a shorter interval."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Published variants by name, such as `dash_2024`, and their settings."""
    capturable: ClassVar[bool] = False
    """Whether `loss_term` and `after_step` can be captured in a graph once per stage: at every step they do
    the same operations on the same tensors, and neither wait for a result nor draw on the CPU."""

    def build(self, task: Task) -> nn.Module:
        """Return the model to train; a remedy may ask the task for other activations or norms."""
        return task.model()

    def start(self, learner: Learner) -> None:
        """Prepare the first stage."""

    def before_stage(self, learner: Learner) -> None:
        """Prepare every later stage; `learner.stage` is the stage about to be trained."""

    def loss_term(self, learner: Learner, logits: Tensor, y: Tensor) -> Tensor | float:
        """Return what is added to the task's loss; logits (b, classes), y (b,)."""
        return 0.0

    def after_step(self, learner: Learner) -> None:
        """Act after each update of the weights; gradients are disabled."""

    def after_stage(self, learner: Learner) -> None:
        """Act after a stage has been trained and measured."""

    def evaluated(self, learner: Learner) -> nn.Module:
        """Return the model whose accuracy counts."""
        return learner.model

    def unsupported(self, task: Task) -> str | None:
        """Return why the remedy cannot run on a task, or None."""
        return None

    def recipe_changes(self) -> Mapping[str, Any]:
        """Return settings of the recipe that this method alone is trained with, such as another optimizer.

        They depend on the method's settings alone, and may be those of `recipe_changes.CHANGEABLE`.
        """
        return {}

    @classmethod
    def check_contract(cls) -> None:
        """Raise RequestError for settings that do not exist, and for a class that does nothing."""
        presets = {f"preset {name}": values for name, values in cls.presets.items()}
        policies = {(method.optimizer_state, method.batch_norm) for method in (Method(), cls())}
        for name, values in {"disabled": cls.disabled or {}, "active": cls.active, **presets}.items():
            for setting in values.keys() - set(setting_names(cls)):
                raise unknown(f"setting of {cls.__name__} in {name}", setting, setting_names(cls))
            variant = cls(**values)
            policies.add((variant.optimizer_state, variant.batch_norm))
        acts = cls._uses("recipe_changes") or any(map(cls._acts_in, ACTING))
        if cls.disabled != {} and len(policies) == 1 and not acts:
            raise RequestError(
                f"it uses no hook and changes no policy, so it does nothing: define {' or '.join(ACTING)}; "
                "a control, which does nothing on purpose, declares disabled = {}"
            )

    @classmethod
    def acts_only_between_stages(cls) -> bool:
        """Return whether no hook can change the first stage."""
        return not cls._uses("recipe_changes", "build", "start", "loss_term", "after_step", "evaluated")

    @classmethod
    def own_hooks(cls) -> tuple[str, ...]:
        """Return the hooks that can change a run and are the class's own, `recipe_changes` among them."""
        return tuple(hook for hook in ("recipe_changes", *ACTING) if cls._uses(hook))

    @classmethod
    def changes_model(cls) -> bool:
        """Return whether `build` may return another model than the task's."""
        return cls._uses("build")

    @classmethod
    def can_be_captured(cls) -> bool:
        """Return whether a step with this method can be captured in a graph."""
        return cls.capturable or not cls._uses("loss_term", "after_step")

    @classmethod
    def _acts_in(cls, hook: str) -> bool:
        """Return whether a hook is the class's own and more than `pass` or the return of a constant."""
        code = getattr(getattr(cls, hook), "__code__", None)
        return cls._uses(hook) and (code is None or len(code.co_code) > _EMPTY_BODY)

    @classmethod
    def _uses(cls, *hooks: str) -> bool:
        return any(getattr(cls, hook) is not getattr(Method, hook) for hook in hooks)


def call_hook(method: Method, hook: str, learner: Learner) -> None:
    """Call a hook that returns nothing.

    Raises RequestError if it returns something, which nothing would use, or keeps something where no
    checkpoint would have it: in a setting, or in a new attribute of the learner.
    """
    settings, attributes = settings_of(method), set(vars(learner))
    returned = getattr(method, hook)(learner)
    where = f"{hook} of {type(method).__name__}"
    if returned is not None:
        raise RequestError(
            f"{where} returns a {type(returned).__name__}, which nothing uses: change the learner instead"
        )
    changed = [
        f"its setting {name}" for name, value in settings_of(method).items() if value != settings[name]
    ]
    changed += [f"learner.{name}" for name in vars(learner) if name not in attributes]
    if changed:
        raise RequestError(
            f"{where} changes {changed[0]}, which no checkpoint would have: keep what changes in a "
            "field(init=False) of the method"
        )

"""The recipe: how every method of a comparison is trained."""

from dataclasses import dataclass
from typing import Literal

from plastibench.errors import RequestError
from plastibench.plugins.fields import Settings, setting

AccuracyAverage = Literal["examples", "batches"]
"""The share of correct examples, or the mean of the accuracies of batches."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """How one stage is trained; the same for every method of a comparison."""

    optimizer: Literal["sgd", "sam", "adam", "adamw", "muon"] = "sgd"
    """muon trains the weight matrices of hidden layers, and all else with Adam at a tenth of the rate."""
    learning_rate: float = setting(0.001, within=(0.0, None))
    """At the start of a stage, after warm-up."""
    momentum: float = setting(0.9, within=(0.0, 1.0))
    """Of SGD, alone and inside SAM, and of Muon; also the decay of Adam's first moment, beta_1."""
    weight_decay: float = setting(0.0, within=(0.0, None))
    """Added to the gradient, except for adamw and muon, which shrink the weights themselves."""
    rho: float = setting(0.1, within=(0.0, None), only=("optimizer", "sam"))
    """Radius of SAM's ascent step."""
    adaptive: bool = setting(False, only=("optimizer", "sam"))
    """Scale SAM's ascent step by the absolute value of each weight (ASAM)."""
    sam_statistics: Literal["both", "first"] = setting("both", only=("optimizer", "sam"))
    """Which of SAM's two passes update the running statistics of batch normalization."""
    schedule: Literal["constant", "steps"] = "constant"
    """Whether the learning rate stays, or falls at the milestones."""
    milestones: tuple[int, ...] = ()
    """Epochs of a stage at which the learning rate is multiplied by `decay`."""
    decay: float = setting(0.2, within=(0.0, 1.0), only=("schedule", "steps"))
    """Factor of the learning rate at each milestone."""
    warmup_epochs: int = setting(0, within=(0, None))
    """Epochs at the start of every stage over which the learning rate rises linearly from 0."""
    batch_size: int = setting(128, within=(2, None))
    """Examples of a step; the last batch of an epoch may be smaller."""
    target_accuracy: float | None = setting(0.999, within=(0.0, 1.0))
    """A stage ends after the first epoch whose training accuracy reaches this share."""
    max_epochs: int | None = setting(10_000, within=(1, None))
    """A stage ends after so many epochs; none is no limit."""
    max_steps: int | None = setting(None, within=(1, None))
    """A stage ends after so many steps; none is no limit."""
    train_accuracy: AccuracyAverage = "examples"
    """How the training accuracy of the stop rule is averaged; the DASH code averages batches."""
    test_accuracy: AccuracyAverage = "examples"
    """How the test accuracy is averaged; the DASH code averages batches of 256."""
    test_batch_size: int = setting(256, within=(1, None))
    """Examples that are evaluated at once."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Of matrix products and convolutions; weights stay in fp32."""
    normalize: bool = True
    """Shift and scale each channel by its mean and standard deviation."""
    augment: bool = False
    """Apply the task's augmentation to training images."""

    def __post_init__(self) -> None:
        """Raise RequestError for settings that are not allowed together."""
        super().__post_init__()
        if self.target_accuracy is None and self.max_epochs is None and self.max_steps is None:
            raise RequestError(
                "a stage would never end: give one of target_accuracy, max_epochs and max_steps a value"
            )
        if bool(self.milestones) != (self.schedule == "steps"):
            raise RequestError(
                f"schedule={self.schedule} with milestones={','.join(map(str, self.milestones)) or 'none'}: "
                "schedule=steps needs milestones, and schedule=constant has none"
            )

    def tells_matrices_apart(self) -> bool:
        """Return whether the weight matrices of hidden layers are updated by a rule of their own."""
        return self.optimizer == "muon"

    def num_passes(self) -> int:
        """Return how often a step takes each of its examples forward and backward."""
        return 2 if self.optimizer == "sam" else 1

    def has_lr_schedule(self) -> bool:
        """Return whether the learning rate changes within a stage."""
        return self.schedule != "constant" or self.warmup_epochs > 0

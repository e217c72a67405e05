"""The names that a method or a task may import from plastibench."""

from plastibench.data.augment import Augmentation, Chain, Crop, Flip, Rotation
from plastibench.data.core import Data, ResidentData
from plastibench.data.embedded import load_digits
from plastibench.data.formats import load_cifar10
from plastibench.data.images import Images, ImageSet, resident
from plastibench.data.resized_crop import RandomResizedCrop
from plastibench.image_task import ImageTask
from plastibench.layers import Scope, parameters_in, weight_layers
from plastibench.learner import Learner
from plastibench.method import BatchNorm, Method, OptimizerState
from plastibench.models import Architecture
from plastibench.settings import setting, tune
from plastibench.task import Recipe, Site, Stage, Task

__all__ = [
    "Architecture",
    "Augmentation",
    "BatchNorm",
    "Chain",
    "Crop",
    "Data",
    "Flip",
    "ImageSet",
    "ImageTask",
    "Images",
    "Learner",
    "Method",
    "OptimizerState",
    "RandomResizedCrop",
    "Recipe",
    "ResidentData",
    "Rotation",
    "Scope",
    "Site",
    "Stage",
    "Task",
    "load_cifar10",
    "load_digits",
    "parameters_in",
    "resident",
    "setting",
    "tune",
    "weight_layers",
]

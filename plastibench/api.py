"""The names that a method or a task may import from plastibench."""

from plastibench.data.augment import Augmentation, Chain, Crop, Flip, Rotation
from plastibench.data.core import Data, ResidentData
from plastibench.data.embedded import load_digits
from plastibench.data.formats import (
    load_cifar10,
    load_cifar100,
    load_fashion_mnist,
    load_svhn,
    load_tiny_imagenet,
)
from plastibench.data.imagenet import load_imagenet_packed, open_imagenet
from plastibench.data.images import Images, ImageSet, resident
from plastibench.data.resized_crop import RandomResizedCrop
from plastibench.image_task import ImageTask
from plastibench.layers import Scope, parameters_in, weight_layers
from plastibench.learner import Learner
from plastibench.method import BatchNorm, Method, OptimizerState
from plastibench.models import Architecture
from plastibench.regimes import Regime
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
    "Regime",
    "ResidentData",
    "Rotation",
    "Scope",
    "Site",
    "Stage",
    "Task",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_fashion_mnist",
    "load_imagenet_packed",
    "load_svhn",
    "load_tiny_imagenet",
    "open_imagenet",
    "parameters_in",
    "resident",
    "setting",
    "tune",
    "weight_layers",
]

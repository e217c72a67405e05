"""The names that a method or a task may import from plastibench."""

from plastibench.data.augment import Augmentation, Chain, Crop, Flip, Rotation
from plastibench.data.cifar import load_cifar10, load_cifar100
from plastibench.data.dataset import Data, InMemoryDataset
from plastibench.data.digits import load_digits
from plastibench.data.fashion_mnist import load_fashion_mnist
from plastibench.data.imagenet import load_imagenet_packed, open_imagenet
from plastibench.data.images import Images, ImageSet, resident
from plastibench.data.random_resized_crop import RandomResizedCrop
from plastibench.data.svhn import load_svhn
from plastibench.data.tiny_imagenet import load_tiny_imagenet
from plastibench.plugins.architecture import Architecture
from plastibench.plugins.fields import setting, tune
from plastibench.plugins.image_task import ImageTask
from plastibench.plugins.layers import Scope, parameters_in, weight_layers
from plastibench.plugins.method import BatchNorm, Method, OptimizerState
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.regimes import Regime
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.training.learner import Learner

__all__ = [
    "Architecture",
    "Augmentation",
    "BatchNorm",
    "Chain",
    "Crop",
    "Data",
    "DataContext",
    "Flip",
    "ImageSet",
    "ImageTask",
    "Images",
    "InMemoryDataset",
    "Learner",
    "Method",
    "OptimizerState",
    "RandomResizedCrop",
    "Recipe",
    "Regime",
    "Rotation",
    "Scope",
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

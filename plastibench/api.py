"""The names that plug-ins may import from plastibench."""

from plastibench.data.augment import (
    Augmentation,
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
)
from plastibench.data.cifar import load_cifar10, load_cifar100
from plastibench.data.dataset import Dataset, InMemoryDataset
from plastibench.data.digits import load_digits
from plastibench.data.fashion_mnist import load_fashion_mnist
from plastibench.data.image_folder import list_classes, load_image_folder
from plastibench.data.imagenet import load_imagenet_packed, open_imagenet
from plastibench.data.images import DatasetSplits, LabeledImages, in_memory_splits
from plastibench.data.rows import LabeledRows, row_splits
from plastibench.data.svhn import load_svhn
from plastibench.data.table import TableSchema, load_table
from plastibench.data.tiny_imagenet import load_tiny_imagenet
from plastibench.errors import DataError
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.fields import setting, tune
from plastibench.plugins.image_task import ImageTask
from plastibench.plugins.layer_swap import LayerSwap, WideActivation
from plastibench.plugins.layers import Scope, norm_layers, parameters_in, weight_layers
from plastibench.plugins.method import BatchNormPolicy, Method, OptimizerStatePolicy
from plastibench.plugins.probe import Probe
from plastibench.plugins.published_recipes import DASH_RECIPES
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.regime import Examples, Overlay, Regime, Stream
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.two_phase import TwoPhase
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.training.averaging import averaged_tensors, model_with
from plastibench.training.distances import distances
from plastibench.training.head import find_head
from plastibench.training.hidden_units import HiddenUnits, UnitEntries, hidden_units, unsupported_units
from plastibench.training.learner import Learner
from plastibench.training.measuring import (
    by_layer,
    cosine,
    hessian_product,
    inner_product,
    mean_gradient,
    measuring_model,
    new_data,
    old_data,
    sample_examples,
    take_gradient,
    train_stage,
    trained_parameters,
    unit_means,
)
from plastibench.training.normalized import normalized_parameters
from plastibench.training.recycling import recycle_units
from plastibench.training.watching import watch_activations

__all__ = [
    "DASH_RECIPES",
    "Accumulate",
    "Architecture",
    "Augmentation",
    "BatchNormPolicy",
    "ClassificationTask",
    "Compose",
    "DataContext",
    "DataError",
    "Dataset",
    "DatasetSplits",
    "Examples",
    "HiddenUnits",
    "ImageTask",
    "InMemoryDataset",
    "LabeledImages",
    "LabeledRows",
    "LayerFactories",
    "LayerSwap",
    "Learner",
    "Method",
    "OptimizerStatePolicy",
    "Overlay",
    "Probe",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "Recipe",
    "Regime",
    "Scope",
    "Shape",
    "Stage",
    "Stream",
    "TableSchema",
    "Task",
    "TwoPhase",
    "UnitEntries",
    "WideActivation",
    "averaged_tensors",
    "by_layer",
    "cosine",
    "distances",
    "find_head",
    "hessian_product",
    "hidden_units",
    "in_memory_splits",
    "inner_product",
    "list_classes",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_fashion_mnist",
    "load_image_folder",
    "load_imagenet_packed",
    "load_svhn",
    "load_table",
    "load_tiny_imagenet",
    "mean_gradient",
    "measuring_model",
    "model_with",
    "new_data",
    "norm_layers",
    "normalized_parameters",
    "old_data",
    "open_imagenet",
    "parameters_in",
    "recycle_units",
    "row_splits",
    "sample_examples",
    "setting",
    "take_gradient",
    "train_stage",
    "trained_parameters",
    "tune",
    "unit_means",
    "unsupported_units",
    "watch_activations",
    "weight_layers",
]

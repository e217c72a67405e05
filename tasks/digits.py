"""Digits: 1,797 real handwritten digits, 8x8, included in scikit-learn. The default task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from plastibench.api import DataContext, DatasetSplits, ImageTask, load_digits


@dataclass(frozen=True, kw_only=True)
class Digits(ImageTask):
    """Handwritten digits (Alpaydin & Kaynak 1998, UCI), 1,197 to train on and 600 to test on."""

    default_architecture = "small_resnet"
    shape = (1, 8, 8)
    num_classes = 10
    standard_recipe: ClassVar[Mapping[str, Any]] = {"batch_size": 32, "max_epochs": 200}

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the data set on the context's device; nothing is downloaded."""
        return self.preprocess(load_digits(), context)

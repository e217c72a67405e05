"""Table: rows of numbers from a CSV, TSV, Parquet or npz file of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plastibench.api import ClassificationTask, DataContext, DatasetSplits, TableSchema, load_table, setting


@dataclass(frozen=True, kw_only=True)
class Table(ClassificationTask):
    """Rows of numbers with a class each, from a file: data of your own without code."""

    file: str = setting()
    """Ends in .csv, .tsv, .parquet or .npz; relative to the current folder."""
    label: str = "label"
    """Column with the classes: names or whole numbers."""
    test_file: str = ""
    """File with the test rows; if empty, they are a share of `file`."""
    test_share: float = setting(0.2, within=(0.01, 0.9), only=("test_file", ""))
    """Share of the rows of each class that are for the test, the same ones for every seed."""
    categorical: tuple[str, ...] = ()
    """Columns of names: each name becomes a column that is 1 or 0."""
    ignore: tuple[str, ...] = ()
    """Columns that are left out."""
    missing: Literal["refuse", "mean"] = "refuse"
    """What becomes of a missing value: with mean, a number is the training rows' mean, and a name is none."""
    separator: str = ","
    """Between the values of a CSV file."""

    default_architecture = "mlp_bn"
    standard_recipe: ClassVar[Mapping[str, Any]] = {"batch_size": 32, "max_epochs": 200, "normalize": True}

    def load(self, context: DataContext) -> DatasetSplits:
        """Return the rows on the context's device."""
        device = context.device.torch_device
        return load_table(self._schema()).splits("Table", device, normalize=self.recipe.normalize)

    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of a row: (features,)."""
        return (len(load_table(self._schema()).features),)

    def output_classes(self) -> int:
        """Return the number of different labels."""
        return len(load_table(self._schema()).classes)

    def _schema(self) -> TableSchema:
        return TableSchema(
            file=self.file,
            label=self.label,
            test_file=self.test_file,
            test_share=self.test_share,
            categorical=self.categorical,
            ignore=self.ignore,
            missing=self.missing,
            separator=self.separator,
        )

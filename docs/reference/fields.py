"""The fields of files: those of the classes that are written to them."""

from dataclasses import fields

from pages import attribute_docs, code, table

from plastibench.experiments.spec import Part, Spec
from plastibench.training.cost import Cost, PhaseCost
from plastibench.training.protocol import StageResult

CLASSES = {cls.__name__: cls for cls in (Spec, Part, StageResult, Cost, PhaseCost)}


def page(name: str) -> str:
    """Return the fields of a class, with their types and docstrings."""
    cls = CLASSES[name]
    docs = attribute_docs(cls)
    rows = [[code(field.name), code(str(field.type)), docs.get(field.name, "")] for field in fields(cls)]
    return table(["field", "type", "meaning"], rows)

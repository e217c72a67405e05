"""Methods with a recipe or a model of their own: what the table says of them, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.commands import PLAIN, SMALL, command

OWN = PLAIN.replace("    disabled = {}\n", "\n    def recipe_changes(self):\n        return {CHANGES}\n")


@pytest.mark.heavy
def test_the_table_names_the_recipe_of_a_method_and_the_size_of_its_model(tmp_path: Path) -> None:
    words = ("--task", "digits", "--method", "warm,sam,crelu,crelu:cold", "--seeds", 1, *SMALL)
    assert command("run", "--no-mlflow", "--home", tmp_path, *words).status == 0
    text = " ".join(command("table", "--home", tmp_path).out.split())  # from the index
    assert "optimizer=sgd" in text  # the recipe that all share
    assert "sam is trained with optimizer=sam instead of sgd, sam_statistics=first instead of both" in text
    sizes = r"has a model of its own, of 5,791 weights and 0.\d+ MFLOPs an example, where others have 5,142"
    worth = "what it is worth is its difference from itself with restart=true"
    assert re.search(rf" crelu {sizes} weights and 0.\d+ MFLOPs an example; {worth}", text)
    assert re.search(rf"crelu:cold {sizes} .* example; it is trained from new weights at every stage", text)
    assert "warm is trained" not in text
    assert "warm has" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ('{"optimizer": "sgdd"}', "recipe_changes of Mine: optimizer=sgdd is not allowed"),
        ('{"max_epochs": 1}', "recipe_changes of Mine changes max_epochs, which is the same for all methods"),
        ('{"rhoo": 1}', "no setting of Recipe named 'rhoo'; did you mean 'rho'?"),
        ("1", "recipe_changes of Mine returns a int"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_a_method_cannot_change_is_refused_before_any_run(
    tmp_path: Path, changes: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(OWN.replace("{CHANGES}", changes), encoding="utf-8")
    words = ("--plugin", tmp_path / "mine.py", "--method", "mine,warm", "--seeds", 1, *SMALL)
    done = command("run", "--no-mlflow", "--home", tmp_path / "home", *words)
    assert done.status == 2
    assert message in done.lines()[-1]
    assert not (tmp_path / "home" / "runs").exists()

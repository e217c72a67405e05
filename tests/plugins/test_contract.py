"""What a plug-in's class declares to no effect is refused when it is loaded, with the name that was meant."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest
from support.commands import small_run

from plastibench.errors import RequestError
from plastibench.plugins.plugin import KINDS
from plastibench.plugins.registry import Registry

HEAD = '''"""A plug-in of a test."""
from dataclasses import InitVar, asdict, dataclass, field
from functools import partialmethod
from typing import Any, ClassVar, Literal

from plastibench.api import *


{before}
@dataclass({options}kw_only=True)
class Mine({base}):
    """Source: arXiv 0000.00000."""

'''
ACTS = "def start(self, learner):\n    learner.model.eval()\n"
METHOD = ("Method", "")
TASK = (
    "ImageTask",
    "shape = (1, 8, 8)\nnum_classes = 10\n"
    "def load(self, context):\n    return self.preprocess(load_digits(), context)\n",
)
MODEL = ("Architecture", "def build(self, shape, num_classes, factories):\n    return None\n")
PROBE = ("Probe", 'units = {"x": ""}\ndef measure(self, learner):\n    return {"x": 0.0}\n')
REGIME = ("Regime", "def window_size(self, chunks, scale):\n    return chunks[-1]\n")


def load(folder: Path, kind: tuple[str, str], body: str, before: str = "", options: str = "") -> type:
    base, contract = kind
    options += "" if "Method" in base else "frozen=True, "
    source = HEAD.format(base=base, before=before, options=options) + indent(contract + body, "    ")
    (folder / "mine.py").write_text(source, encoding="utf-8")
    registry = Registry((folder / "mine.py",))
    (kind_name,) = (name for name in KINDS if "mine" in registry.names(name))
    found: type = registry.load(kind_name, "mine")
    return found


@pytest.mark.parametrize(
    ("kind", "body", "meant"),
    [
        (METHOD, "def before_stages(self, learner): pass", "before_stage"),
        (METHOD, "def beforeStage(self, learner): pass", "before_stage"),
        (METHOD, ACTS + "def after_steps(self, learner): pass", "after_step"),
        (METHOD, ACTS + "def loss_terms(self, learner, logits, y): return 0.0", "loss_term"),
        (METHOD, ACTS + "def evaluate(self, learner): return learner.model", "evaluated"),
        (METHOD, ACTS + "@staticmethod\ndef befor_stage(learner): pass", "before_stage"),
        (METHOD, ACTS + "@property\ndef before_stages(self): return 1", "before_stage"),
        (METHOD, ACTS + "before_stages = partialmethod(Method.start)", "before_stage"),
        (METHOD, ACTS + "def preset(self): return {}", "presets"),
        (TASK, "def output_class(self): return 3", "output_classes"),
        (TASK, "def streams(self, seed, context): yield", "stream"),
        (MODEL, "def unsuported(self, shape): return None", "unsupported"),
        (PROBE, "def measures(self, learner): return {}", "measure"),
        (REGIME, "def chunk_size(self, num_examples, num_chunks): return []", "chunk_sizes"),
    ],
)
def test_a_misspelt_hook_is_refused_with_the_name_meant(
    tmp_path: Path, kind: tuple[str, str], body: str, meant: str
) -> None:
    with pytest.raises(RequestError, match=rf"^Mine in .*mine.py: nothing calls \w+: did you mean {meant}\?"):
        load(tmp_path, kind, body)


def test_a_hook_of_another_framework_is_refused_and_a_helper_is_not(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="nothing calls on_epoch_end: there are build, start, before_stage"
    ):
        load(tmp_path, METHOD, ACTS + "def on_epoch_end(self): pass")
    helper = "def start(self, learner):\n    self.starts(learner)\ndef starts(self, learner): pass"
    assert load(tmp_path, METHOD, helper)
    assert load(tmp_path, METHOD, ACTS + "def describe(self): return 3")
    with pytest.raises(
        RequestError,
        match=r"nothing calls stage_start: there are build, start, .*unsupported, recipe_changes ",
    ):
        load(tmp_path, METHOD, ACTS + "def stage_start(self): pass")


LOST = "def before_stage(self, learner): learner.restart()"


def test_a_hook_that_is_no_method_of_the_class_is_refused(tmp_path: Path) -> None:
    for body, before in (
        (ACTS, LOST),
        (ACTS + indent(LOST, "    "), ""),
        (ACTS + LOST.replace("before", "_before"), ""),
    ):
        with pytest.raises(
            RequestError, match=r"nothing calls [\w.<>]*before_stage: did you mean before_stage,"
        ):
            load(tmp_path, METHOD, body, before)
    for body, before in (
        ("before_stage = before_stage", LOST),
        (
            ACTS
            + LOST.replace("before", "_before")
            + "\ndef after_stage(self, learner): self._before_stage(1)",
            "",
        ),
        (ACTS, f"class Other:\n    {LOST}"),
    ):
        assert load(tmp_path, METHOD, body, before)


UNREAD = "factor: float = 0.5\n"


@pytest.mark.parametrize("kind", [METHOD, TASK, MODEL, PROBE, REGIME])
def test_a_setting_that_no_code_reads_is_refused(tmp_path: Path, kind: tuple[str, str]) -> None:
    acts = ACTS if kind is METHOD else ""
    with pytest.raises(RequestError, match="no code reads its setting factor, so it changes nothing but"):
        load(tmp_path, kind, UNREAD + acts)
    assert load(tmp_path, kind, UNREAD + acts + "def _amount(self): return self.factor")


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("def start(self, learner): scale(learner.model, self)", "def scale(model, method): method.factor"),
        ("def start(self, learner): asdict(self)", ""),
        ('def start(self, learner): getattr(self, "fac" + "tor")', ""),
        (
            "@twice\n@twice\ndef start(self, learner): self.factor",
            "def twice(f):\n    return lambda *a: f(*a)",
        ),
        ("start = lambda self, learner: self.factor and None", ""),
        ("def start(self, learner): [p for p in () if p > self.factor]", ""),
    ],
)
def test_a_setting_may_be_read_anywhere(tmp_path: Path, body: str, before: str) -> None:
    assert load(tmp_path, METHOD, UNREAD + body, before)


def test_a_setting_may_be_read_by_a_helper_module(tmp_path: Path) -> None:
    (tmp_path / "scaling.py").write_text("def scale(model, method):\n    return method.factor\n")
    hook = "def start(self, learner): scale(learner.model, self)"
    assert load(tmp_path, METHOD, UNREAD + hook, "from scaling import scale")


@pytest.mark.parametrize("option", ["slots=True", "init=False"])
def test_options_of_dataclass_that_lose_settings_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(
        RequestError, match="@dataclass has an option that plug-ins cannot have: init=False or"
    ):
        load(tmp_path, METHOD, ACTS, options=f"{option}, ")


def test_a_protocol_may_be_a_base(tmp_path: Path) -> None:
    protocol = "from typing import Protocol\nclass Scales(Protocol):\n    def scale(self) -> float: ..."
    assert load(tmp_path, ("Method, Scales", ""), ACTS + "def scale(self): return 1.0", protocol)


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        (
            METHOD,
            ACTS + "factor = 0.5",
            "factor has no annotation, so it is no setting: write factor: float = 0.5",
        ),
        (
            METHOD,
            ACTS + "preset = {}",
            "preset is nearly presets, a class attribute of Method: did you mean presets?",
        ),
        (METHOD, ACTS + "preset: ClassVar[Any] = {}", "preset is nearly presets"),
        (METHOD, ACTS + "capturabel: ClassVar[bool] = True", "did you mean capturable?"),
        (METHOD, ACTS + 'optimiser_state: Literal["clear"] = "clear"', "did you mean optimizer_state?"),
        (
            METHOD,
            ACTS + 'batch_norm = "reset"',
            "batch_norm is a setting of Method, whose default only an annotation",
        ),
        (
            METHOD,
            ACTS + 'batch_norm: ClassVar[str] = "reset"',
            "setting of Method, so it cannot be a class attribute",
        ),
        (METHOD, ACTS + "capturable: bool = True", "class attribute of Method, so it cannot be a setting"),
        (
            METHOD,
            ACTS + "def capturable(self): return True",
            "capturable is a class attribute of Method, so it",
        ),
        (
            METHOD,
            ACTS + "after_step: float = 0.1",
            "after_step is a method of Method, so it cannot be a setting",
        ),
        (
            METHOD,
            ACTS + "amount: InitVar[float] = 0.1",
            "amount is no setting, since its type is dataclasses.InitVar[float]",
        ),
        (
            TASK,
            "stages = 10",
            "stages is a setting of ClassificationTask, whose default only an annotation changes",
        ),
        (TASK, "recipe_preset = {}", "did you mean recipe_presets?"),
        (MODEL, "width = 8", "width has no annotation, so it is no setting: write width: int = 8"),
        (PROBE, "unit = {}", "did you mean units?"),
        (REGIME, "fixed_stage = True", "did you mean fixed_stages?"),
    ],
)
def test_an_attribute_that_nothing_reads_is_refused(
    tmp_path: Path, kind: tuple[str, str], body: str, problem: str
) -> None:
    with pytest.raises(RequestError, match=rf"^Mine in .*mine.py: .*{re.escape(problem)}"):
        load(tmp_path, kind, body)


def test_settings_of_a_class_without_dataclass_are_refused(tmp_path: Path) -> None:
    mixin = "class Mixin:\n    factor: float = 0.5\n"
    with pytest.raises(RequestError, match="factor is no setting, since Mixin lacks @dataclass"):
        load(tmp_path, ("Mixin, Method", ""), ACTS, before=mixin)


def test_a_hook_that_another_base_hides_is_refused(tmp_path: Path) -> None:
    mixin = "class Mixin:\n    def before_stage(self, learner):\n        learner.restart()\n"
    assert load(tmp_path, ("Mixin, Method", ""), "", before=mixin)
    with pytest.raises(
        RequestError, match="before_stage of Mixin is hidden by that of Method: name Mixin before"
    ):
        load(tmp_path, ("Method, Mixin", ""), ACTS, before=mixin)


def test_a_class_that_does_nothing_is_refused_unless_it_says_so(tmp_path: Path) -> None:
    idle = (
        "def before_stage(self, learner):\n        '''Do nothing.'''\n        pass",
        "def loss_term(self, learner, logits, y): return 0.0",
    )
    for body in ("", "def unsupported(self, task): return None", *idle):
        with pytest.raises(RequestError, match=r"it uses no hook and changes no policy, .* disabled = \{\}"):
            load(tmp_path, METHOD, body)
    assert load(tmp_path, METHOD, "disabled = {}")
    assert load(tmp_path, METHOD, 'optimizer_state: Literal["clear"] = "clear"')
    assert load(tmp_path, METHOD, 'presets = {"statistics": {"batch_norm": "reset"}}')


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        (METHOD, "def after_step(self): pass", "after_step(self) is called with (learner)"),
        (METHOD, "def after_step(self, *, learner): pass", "after_step(self, *, learner) is called with"),
        (METHOD, "def after_step(): pass", "after_step() is called with (learner)"),
        (
            METHOD,
            "def after_step(self, learner, rate): pass",
            "after_step(self, learner, rate) is called with (learner)",
        ),
        (
            METHOD,
            "def loss_term(self, learner, logits, y, *, a): pass",
            "is called with (learner, logits, y)",
        ),
        (METHOD, "def before_stage(self, learner):\n    yield 1", "before_stage has yield or async in it"),
        (METHOD, "async def before_stage(self, learner): pass", "before_stage has yield or async in it"),
        (TASK, "def model(self): return None", "model(self) is called with (activation, norm)"),
        (TASK, "def recipes(self, architecture): return {}", "recipes lacks @classmethod above it"),
        (
            REGIME,
            "def windows(self, chunks): return []",
            "windows(self, chunks) is called with (chunks, scale)",
        ),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused(
    tmp_path: Path, kind: tuple[str, str], body: str, problem: str
) -> None:
    with pytest.raises(RequestError, match=rf"^Mine in .*mine.py: .*{re.escape(problem)}"):
        load(tmp_path, kind, body)


def test_a_hook_may_have_other_names_defaults_and_decorators(tmp_path: Path) -> None:
    for body in (
        "def after_step(self, anything, more=3): print(self)",
        "def after_step(self, *args): print(self)",
        "@staticmethod\ndef after_step(learner): print(learner)",
        "@torch.no_grad()\ndef after_step(self, learner): print(learner)",
    ):
        assert load(tmp_path, METHOD, body, before="import torch")


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        (
            METHOD,
            'optimizer_state: str = "clear"',
            "optimizer_state is text, but Method.optimizer_state is keep or clear",
        ),
        (METHOD, 'optimizer_state: Literal["cleared"] = "cleared"', "and no hook reads cleared"),
        (
            METHOD,
            "optimizer_state: str = field(default='clear', init=False)",
            "is a setting of Method and must remain",
        ),
        (
            TASK,
            "validation: float | None = None",
            "validation is a number from 0 to 0.5 or none, but ImageTask.",
        ),
        (TASK, "stages: int | None = 1", "stages=1 is not allowed: stages is a whole number of at least 2"),
        (
            METHOD,
            "inner: Recipe = field(default_factory=Recipe)",
            "inner cannot be a Recipe: nested settings are",
        ),
        (METHOD, 'presets = {"a": {"factr": 1}}', "no setting of Mine in preset a named 'factr'"),
        (METHOD, 'presets = {"a": {"batch_norm": "new"}}', "batch_norm=new is not allowed"),
        (METHOD, 'disabled = {"x": 1}', "no setting of Mine in disabled named 'x'"),
        (METHOD, "def __post_init__(self): pass", "__post_init__ lacks super().__post_init__()"),
        (METHOD, "def __init__(self): self.x = 1", "__init__ is the dataclass's own"),
    ],
)
def test_a_check_of_settings_cannot_be_switched_off(
    tmp_path: Path, kind: tuple[str, str], body: str, problem: str
) -> None:
    body = (ACTS if kind is METHOD else "") + body
    with pytest.raises(RequestError, match=rf"Mine in .*mine.py.*{re.escape(problem)}"):
        load(tmp_path, kind, body)


def test_a_redeclared_setting_may_allow_less_or_what_a_hook_reads(tmp_path: Path) -> None:
    reads = 'def before_stage(self, learner):\n    if self.optimizer_state == "half":\n        pass\n'
    for body in (
        ACTS + 'optimizer_state: Literal["clear"] = "clear"',
        reads + 'optimizer_state: Literal["keep", "half"] = "half"',
    ):
        assert load(tmp_path, METHOD, body)


def test_the_command_line_refuses_it_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        load(tmp_path, METHOD, "def before_stages(self, learner): pass")
    done = small_run(
        tmp_path / "home", "--plugin", tmp_path / "mine.py", "--task", "digits", "--method", "mine"
    )
    assert done.status == 2
    assert done.lines() == [
        f"plastibench: Mine in {tmp_path / 'mine.py'}: nothing calls before_stages: did you mean "
        "before_stage? (the name of a helper begins with an underscore)"
    ]

"""`plastibench check` finds the mistakes that remedies are made with, and names them."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest
from support.commands import command
from support.pairs import some_of

HEAD = '''"""A method of a test."""
import random
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import init

from plastibench.api import Learner, Method, parameters_in, tune, weight_layers

COUNT = [0]
SEEN = {}


@dataclass(kw_only=True)
class Mine(Method):
    """Multiply the weights by a factor (arXiv 0000.00000)."""

'''
SETTING = "    factor: float = tune(0.9, 0.1, 1.0, within=(0.0, 2.0))\n"
SHRINK = "for weight in parameters_in(learner.model, 'layers'): weight.mul_(self.factor)"


def method(*lines: str, hook: str = "before_stage", head: str = HEAD + SETTING) -> str:
    """Return the source of a method whose hook has a body; `lines` come before the hook."""
    arguments = {"loss_term": "self, learner, logits, y", "build": "self, task"}.get(hook, "self, learner")
    declared = indent("\n".join(lines[:-1]), "    ")
    return f"{head}\n{declared}\n\n    def {hook}({arguments}):\n{indent(lines[-1], ' ' * 8)}\n"


SOUND = {
    "between stages": method("disabled = {'factor': 1.0}", SHRINK),
    "in steps": method("disabled = {'factor': 1.0}", "capturable = True", SHRINK, hook="after_step"),
    "with a mask": method(
        "for w in parameters_in(learner.model, 'layers'): w[w.abs() < 0.1] = 0\nself.factor"
    ),
    "with state": method(
        "steps: int = field(default=0, init=False)",
        f"self.steps += 1\nif self.steps % 2 == 0:\n    {SHRINK}",
        hook="after_step",
    ),
    "with a wait in a few steps": method(
        "weights = list(parameters_in(learner.model, 'layers'))\n"
        "if learner.step % 3 == 0 and float(weights[0].norm()) > 0.0: weights[0].mul_(self.factor)",
        hook="after_step",
    ),
}
BROKEN = {
    "a misspelt hook": (method(SHRINK, hook="before_stages"), "did you mean before_stage"),
    "an empty hook": (method("pass").replace(SETTING, ""), "it uses no hook"),
    "a setting that nothing reads": (method("learner.restart()"), "factor"),
    "no source": (
        method(SHRINK).replace(" (arXiv 0000.00000)", ""),
        "docstring names no source",
    ),
    "a threshold that is never reached": (
        method(f"if learner.stage.index > 10**6 * self.factor:\n    {SHRINK}"),
        "it does nothing within",
    ),
    "a write into a copy by a mask": (
        method("for w in parameters_in(learner.model, 'layers'):\n    w.data[w < self.factor].zero_()"),
        "`w.data[w < self.factor].zero_()`",
    ),
    "an initializer of a copy": (
        method(
            "for w in parameters_in(learner.model, 'layers'):\n"
            "    i = torch.arange(len(w))[: int(9 * self.factor)]\n    init.zeros_(w.data[i])"
        ),
        "indexing with a tensor copies, so assign",
    ),
    "a new tensor in place of the old": (
        method("for w in parameters_in(learner.model, 'layers'):\n    w = w * self.factor"),
        "it does nothing within",
    ),
    "the global generator": (
        method(
            "for w in parameters_in(learner.model, 'all'):\n    w.add_(torch.randn_like(w) * self.factor)"
        ),
        "`w.add_(torch.randn_like(w) * self.factor)`): draw from learner.generator",
    ),
    "the global generator in an initializer": (
        method("for layer in weight_layers(learner.model)[:2]:\n    init.normal_(layer.bias)\nself.factor"),
        "`init.normal_(layer.bias)`): draw from learner.generator",
    ),
    "Python's generator": (
        method(f"self.factor\nif random.random() < 0.5:\n    {SHRINK}", hook="after_step"),
        "something outside of the run decides",
    ),
    "the time": (
        method("for w in parameters_in(learner.model, 'all'):\n    w.mul_(self.factor - time.time() % 0.1)"),
        "something outside of the run decides",
    ),
    "a count in the module": (
        method(
            "COUNT[0] += 1\n"
            "for w in parameters_in(learner.model, 'all'):\n    w.mul_(self.factor ** COUNT[0])"
        ),
        "COUNT changes in a run",
    ),
    "a list shared by all instances": (
        method(
            "history: list = field(default_factory=lambda: COUNT, init=False)",
            "self.history.append(1)\nfor w in parameters_in(learner.model, 'all'):\n"
            "    w.mul_(self.factor ** len(self.history))",
        ),
        "COUNT changes in a run",
    ),
    "state that is no field": (
        method(
            "self.n = getattr(self, 'n', 0) + 1\nfor w in parameters_in(learner.model, 'all'):\n"
            "    w.mul_(1 - 0.01 * self.factor * (self.n % 2))",
            hook="after_step",
        ),
        "Mine keeps n, which no checkpoint would have",
    ),
    "state in the module": (
        method(
            "SEEN[learner.seed] = SEEN.get(learner.seed, 0) + 1\n"
            "if learner.step == 1: SEEN[learner.seed] = 1\n"
            "for w in parameters_in(learner.model, 'all'):\n"
            "    w.mul_(1 - 0.01 * self.factor * (SEEN[learner.seed] % 2))",
            hook="after_step",
        ),
        "SEEN changes in a run",
    ),
    "an own pass that is not counted": (
        method(
            "x, y = next(learner.stage.train.batches(8))\n"
            "for w in parameters_in(learner.model, 'all'):\n    w.mul_(self.factor)\n"
            "learner.model(x)"
        ),
        "use learner.forward or learner.backward",
    ),
    "a product that is not counted": (
        method(
            "for layer in weight_layers(learner.model)[:1]:\n"
            "    w = layer.weight.flatten(1)\n    layer.weight.mul_(self.factor + 0 * (w @ w.T).sum())"
        ),
        "learner.counting()",
    ),
    "training on the test data": (
        method(
            "x, y = next(learner.stage.test.batches(8))\nlearner.backward(learner.model, x, y)\nself.factor"
        ),
        "Mine reads the test data before its accuracy on them is measured",
    ),
    "a choice by the test data": (
        method(
            "good: bool = field(default=False, init=False)",
            f"if self.good:\n    {SHRINK}\nelse:\n    self.factor\n    "
            "for w in parameters_in(learner.model, 'layers'): w.mul_(0.99)",
            hook="after_step",
        )
        + """
    def after_stage(self, learner):
        test = learner.stage.test
        self.good = test is not None and learner.accuracy(learner.model, test) > 0.05
""",
        "what the test data are does not matter",
    ),
    "off that is not off": (
        method("disabled = {'factor': 1.0}", f"{SHRINK}\nlearner.reset_batch_norm()"),
        "something happens whatever the settings are",
    ),
    "a claim to be capturable, with a read": (
        method(
            "capturable = True",
            "for w in parameters_in(learner.model, 'layers'):\n"
            "    if float(w.norm()) > 0.1: w.mul_(self.factor)",
            hook="after_step",
        ),
        "`if float(w.norm()) > 0.1: w.mul_(self.factor)`",
    ),
    "a claim to be capturable, with a count": (
        method(
            "capturable = True",
            "for w in parameters_in(learner.model, 'layers'):\n"
            "    w.mul_(1 - 0.001 * (learner.step % 3) * self.factor)",
            hook="after_step",
        ),
        "counts in Python",
    ),
    "a wait in every step": (
        method(
            "self.factor\nnorm = sum(w.norm().item() for w in parameters_in(learner.model, 'layers'))\n"
            "for w in parameters_in(learner.model, 'layers'): w.mul_(1 - 0.001 * norm / (1 + norm))",
            hook="after_step",
        ),
        "after_step waits in",
    ),
    "an evaluation that changes the model": (
        method(f"with torch.no_grad():\n    {SHRINK}\nreturn learner.model", hook="evaluated"),
        "`evaluated` changes the model",
    ),
    "an exception at one setting": (
        method(
            "twice: bool = False",
            f"{SHRINK}\nif self.twice: learner.nothing()",
        ),
        "with twice=true: ",
    ),
    "an exception on a residual network": (
        method(f"{SHRINK}\nif any(isinstance(m, nn.Conv2d) for m in learner.model.modules()): 1 / 0"),
        "it keeps its laws on small_resnet",
    ),
}


def check(folder: Path, source: str) -> tuple[int, str]:
    path = folder / "mine.py"
    path.write_text(source)
    result = command("check", path, "--fail-fast")
    return result.status, result.out + result.err


@pytest.mark.parametrize("name", some_of(SOUND, ("with state", "with a mask")))
def test_a_sound_method_keeps_every_law(name: str, tmp_path: Path) -> None:
    status, text = check(tmp_path, SOUND[name])
    assert (status, "failed" in text) == (0, False), text


@pytest.mark.heavy
@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_is_named(name: str, tmp_path: Path) -> None:
    source, message = BROKEN[name]
    status, text = check(tmp_path, source)
    assert status in (1, 2), text
    assert message in "\n".join(line for line in text.splitlines() if not line.startswith(("passed", "not")))


@pytest.mark.heavy
def test_a_method_whose_runs_differ_is_told_of_that_and_of_no_consequence(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(method(f"self.factor\nif random.random() < 0.5:\n    {SHRINK}", hook="after_step"))
    lines = command("check", path).out.splitlines()
    (failed,) = [line for line in lines if line.startswith("failed")]
    assert "the seed determines the result" in failed
    assert "a generator of Python or NumPy (draw from learner.generator)" in failed
    assert len([line for line in lines if "mend that first" in line]) >= 5


MODEL = '''"""A model of a test."""
from dataclasses import dataclass

from torch import nn

from plastibench.api import Architecture


@dataclass(frozen=True, kw_only=True)
class Mine(Architecture):
    """A perceptron."""

    width: int = 8

    def build(self, shape, num_classes, factories):
        """Return the model."""
        first = nn.Linear(shape[0] * shape[1] * shape[2], self.width)
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(self.width, num_classes){more})
'''


@pytest.mark.heavy
def test_a_model_is_checked_and_a_problem_with_its_head_is_named(tmp_path: Path) -> None:
    status, text = check(tmp_path, MODEL.format(more=""))
    assert (status, "failed" in text) == (0, False), text
    assert "its hidden units are known" in text
    status, text = check(tmp_path, MODEL.format(more=", nn.LogSoftmax(1)"))
    assert status == 1
    assert "failed          its head is known: the head is not known, because the output" in text


def test_what_has_no_laws_and_what_is_no_file_is_refused(tmp_path: Path) -> None:
    regime = "from dataclasses import dataclass\nfrom plastibench.api import Regime\n\n\n"
    regime += "@dataclass(frozen=True)\nclass Mine(Regime):\n"
    regime += "    def window_size(self, chunks, scale):\n        return 1\n"
    status, text = check(tmp_path, regime)
    assert status == 2
    assert text.startswith("plastibench: no method, model, probe or task to check named 'mine'")
    missing = command("check", tmp_path / "nothing.py")
    assert (missing.status, missing.err) == (
        2,
        f"plastibench: no plug-in file at {tmp_path / 'nothing.py'}\n",
    )

"""Regimes over other regimes: sizes of chunks, what is composed, and how a run describes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import small_run
from support.tasks import small_digits

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.buffer import Buffer
from plastibench.plugins.regimes.discard import Discard
from plastibench.plugins.regimes.increments import Increments
from plastibench.plugins.regimes.label_noise import LabelNoise
from plastibench.plugins.regimes.repeat import Repeat
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import data_context


def stages(registry: Registry, seed: int = 0, **settings: Any) -> list[Stage]:
    settings = {"stages": None, **settings}
    return list(small_digits(registry, **settings).stream(seed, data_context()))


def spec(registry: Registry, task: str = "digits", **settings: str) -> Spec:
    return Grid((task,), ("warm",), settings=settings).specs(registry)[0]


def test_increments_are_fractions_of_the_base(registry: Registry) -> None:
    assert Increments().chunk_sizes(1112, 4) == [1000, 2, 10, 100]
    assert Increments(increments=(9.0,)).chunk_sizes(1197, 2) == [120, 1077]
    all_stages = stages(registry, regime=Increments(), train_size=1112)
    assert [(len(stage.train), stage.num_new) for stage in all_stages] == [
        (1000, 1000),
        (1002, 2),
        (1012, 10),
        (1112, 100),
    ]


def test_increments_over_a_buffer_keep_the_newest_examples(registry: Registry) -> None:
    regime = Increments(base=Buffer(buffer=100), increments=(0.1, 0.2))
    assert [stage.chunks for stage in stages(registry, regime=regime, train_size=130)] == [
        (100,),
        (90, 10),
        (70, 10, 20),
    ]


def test_the_last_stage_of_increments_has_the_data_of_equal_chunks(registry: Registry) -> None:
    last, equal = (
        stages(registry, regime=regime, **more)[-1].train
        for regime, more in (
            (Increments(), {"train_size": 1112}),
            (Accumulate(), {"train_size": 1112, "stages": 4}),
        )
    )
    assert torch.equal(last.labels(), equal.labels())


@pytest.mark.parametrize("increments", [(0.0001,), (1.0, 0.00001)])
def test_an_increment_without_an_example_is_refused(increments: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match="is not allowed: of 1197 training examples there would be none"):
        Increments(increments=increments).chunk_sizes(1197, 1 + len(increments))


def test_repeating_has_all_data_as_the_newest_in_every_stage(registry: Registry) -> None:
    all_stages = stages(registry, regime=Repeat(), stages=3, validation=0.1)
    assert [(stage.chunks, stage.num_new) for stage in all_stages] == [((117,), 117)] * 3
    assert all(stage.validation is not None and len(stage.validation) == 13 for stage in all_stages)


def test_a_description_names_every_regime_and_its_code(registry: Registry) -> None:
    one = spec(registry, regime="label_noise+increments+buffer", buffer="100", noise="0.5", increments="1,2")
    assert [part.name for part in one.regimes] == ["label_noise", "increments", "buffer"]
    assert one.task_settings["regime"] == "label_noise+increments+buffer"
    assert one.task_settings.items() >= {"buffer": 100, "noise": (0.5,), "increments": (1.0, 2.0)}.items()
    assert Spec.from_dict(one.as_dict()) == one
    task: Any = build(one, registry)[0]
    base = Increments(base=Buffer(buffer=100), increments=(1.0, 2.0))
    assert task.regime == LabelNoise(base=base, noise=(0.5,))
    assert {("regime", part.name) for part in one.regimes} <= {(kind, p.name) for kind, p in one.all_parts()}


def test_a_base_that_is_not_named_is_the_usual_one_and_takes_settings(registry: Registry) -> None:
    named = spec(registry, regime="repaired_labels+label_noise+accumulate", noise="0.3")
    assert spec(registry, regime="repaired_labels", noise="0.3").id == named.id
    assert spec(registry, regime="repaired_labels", noise="0.2").id != named.id
    assert spec(registry, regime="increments").regimes[1].name == "accumulate"
    assert spec(registry, regime="increments+discard").regimes[1].name == "discard"


def test_a_setting_can_have_the_name_of_its_regime_as_a_prefix(registry: Registry) -> None:
    settings = {"regime": "label_noise+increments", "label_noise.noise": "0.1", "increments.increments": "2"}
    one = Grid(("digits",), ("warm",), settings=settings).specs(registry)[0]
    assert one.task_settings.items() >= {"noise": (0.1,), "increments": (2.0,)}.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("regime=discard+increments",), "regime=discard+... is not allowed: discard lies over no other"),
        (("regime=increments+repeat",), "regimes Increments and Repeat both decide which data arrive when"),
        (("regime=class_incremental+uncertainty",), "regimes ClassIncremental and Uncertainty both decide"),
        (("regime=uncertainty+class_pairs",), "regimes Uncertainty and ClassPairs both decide which data"),
        (("regime=uncertainty+repeat",), "with regime Repeat all data arrive at once: there are none to"),
        (("regime=label_noise+label_noise",), "regime LabelNoise+LabelNoise+Accumulate is not allowed"),
        (("regime=increments", "stages=7"), "stages=7 is not allowed: a base and 3 increments are 4 stages"),
        (("regime=label_noise", "stages=7"), "noise has 10 shares for 7 stages: give one for all stages"),
        (("regime=label_noise+incremnts",), "no regime named 'incremnts'; did you mean 'increments'?"),
        (("regime=increments+",), "no regime named ''"),
        (("regime=class_incremental+label_noise",), "regime LabelNoise cannot lie under ClassIncremental"),
        (("regime=random_labels+label_noise",), "regime LabelNoise cannot lie under RandomLabels"),
    ],
)
def test_regimes_that_do_not_go_together_are_refused(
    registry: Registry, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RequestError, match=f"^{re.escape(message)}"):
        spec(registry, **dict(text.split("=") for text in settings))


def test_the_order_of_arrival_of_the_old_regimes_is_as_before(registry: Registry) -> None:
    """Digests of the labels in order of arrival, made before regimes could change them."""
    labels = [
        stages(registry, regime=regime, stages=3)[-1].train.labels() for regime in (Accumulate(), Discard())
    ]
    assert [int((one * torch.arange(1, len(one) + 1)).sum()) for one in labels] == [42151, 4724]


OVERLAY = '''"""The labels of the newest chunk alone are right."""
from dataclasses import dataclass, field, replace

from plastibench.api import Accumulate, Overlay, Regime, Stage, Stream


@dataclass(frozen=True, kw_only=True)
class OldLabelsZero(Overlay):
    """Set the labels of old data to 0."""

    base: Regime = field(default=Accumulate())

    def transform(self, stage: Stage, stream: Stream) -> Stage:
        stage = super().transform(stage, stream)
        labels = stage.train.labels()
        labels[: -stage.num_new] = 0
        return replace(stage, train=stage.train.with_labels(labels))
'''


def test_an_overlay_of_a_users_own_runs_and_is_kept_with_the_run(tmp_path: Path) -> None:
    file = tmp_path / "old_labels_zero.py"
    file.write_text(OVERLAY)
    own = ("--plugin", file, "--set", "regime=label_noise+old_labels_zero", "--set", "noise=0.1")
    answer = small_run(tmp_path / "home", "--task", "digits", "--method", "warm", *own)
    assert answer.status == 0, answer.err
    assert "regime=label_noise+old_labels_zero+accumulate" in answer.out
    (record,) = Store(tmp_path / "home").records()
    assert [part.name for part in record.spec.base_regimes] == ["old_labels_zero", "accumulate"]
    file.write_text(OVERLAY.replace("= 0", "= 1"))
    assert "1 to do" in small_run(tmp_path / "home", "--task", "digits", "--method", "warm", *own).err

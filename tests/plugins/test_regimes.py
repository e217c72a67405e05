"""Which examples a stage sees: arithmetic, then the same on a real stream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.commands import small_run
from support.tasks import small_digits

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import build
from plastibench.plugins.regime import Regime, Window
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.buffer import Buffer
from plastibench.plugins.regimes.discard import Discard
from plastibench.plugins.regimes.two_phase import TwoPhase
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage
from plastibench.store.run_store import Store
from plastibench.testing.run_trace import data_context

CHUNKS = [3, 3, 2]


def test_chunks_that_do_not_divide_differ_by_one() -> None:
    assert Accumulate().chunk_sizes(10, 4) == [3, 3, 2, 2]


def test_more_chunks_than_examples_are_refused() -> None:
    with pytest.raises(RequestError, match="stages=5 is not allowed: there are only 4 training examples"):
        Accumulate().chunk_sizes(4, 5)


def test_accumulating_keeps_everything() -> None:
    windows = [Window(0, 3, (3,)), Window(0, 6, (3, 3)), Window(0, 8, (3, 3, 2))]
    assert Accumulate().windows(CHUNKS) == windows


def test_discarding_keeps_the_newest_chunk() -> None:
    assert Discard().windows(CHUNKS) == [Window(0, 3, (3,)), Window(3, 6, (3,)), Window(6, 8, (2,))]


def test_a_buffer_keeps_the_newest_examples() -> None:
    windows = [Window(0, 3, (3,)), Window(2, 6, (1, 3)), Window(4, 8, (2, 2))]
    assert Buffer(buffer=4).windows(CHUNKS) == windows
    assert Buffer(buffer=8).windows(CHUNKS, scale=0.5) == windows


@given(
    chunks=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    regime=st.sampled_from(
        [Accumulate(), Discard(), TwoPhase(), *(Buffer(buffer=n) for n in range(2, 30, 3))]
    ),
)
def test_every_window_ends_with_the_newest_example(chunks: list[int], regime: Regime) -> None:
    windows = regime.windows(chunks)
    assert [window.end for window in windows] == [sum(chunks[: k + 1]) for k in range(len(chunks))]
    for window in windows:
        assert sum(window.chunks) == window.end - window.start
        assert min(window.chunks) > 0
        if isinstance(regime, Buffer):
            assert window.end - window.start == min(regime.buffer, window.end)


def stages(registry: Registry, seed: int = 0, model: str = "small_resnet", **settings: Any) -> list[Stage]:
    return list(small_digits(registry, model=model, **settings).stream(seed, data_context()))


def pixels(stage: Stage, part: str = "train") -> torch.Tensor:
    data: Any = getattr(stage, part)
    all_stages: torch.Tensor = data.x.flatten(1)
    return all_stages


def test_the_last_stage_has_all_examples_where_they_do_not_divide(registry: Registry) -> None:
    all_stages = stages(registry, train_size=100, stages=7)
    assert [len(stage.train) for stage in all_stages] == [15, 30, 44, 58, 72, 86, 100]
    assert all_stages[-1].chunks == (15, 15, 14, 14, 14, 14, 14)
    assert all_stages[-1].num_new == 14


def test_max_stages_runs_the_first_ones_of_the_same_schedule(registry: Registry) -> None:
    whole, part = stages(registry, stages=5), stages(registry, stages=5, max_stages=2)
    assert len(part) == 2
    for one, two in zip(whole, part, strict=False):
        assert torch.equal(pixels(one), pixels(two))


def test_two_phase_is_half_and_then_all(registry: Registry) -> None:
    all_stages = stages(registry, regime=TwoPhase(), stages=None, train_size=101)
    assert [len(stage.train) for stage in all_stages] == [51, 101]


def test_two_phase_refuses_another_number_of_stages(registry: Registry) -> None:
    with pytest.raises(RequestError, match="stages=5 is not allowed: regime TwoPhase has 2 stages"):
        small_digits(registry, regime=TwoPhase(), stages=5)


def test_a_buffer_needs_its_size() -> None:
    with pytest.raises(
        RequestError, match=r"^Buffer needs buffer=\.\.\.: buffer is a whole number of at least 2$"
    ):
        Buffer.parse({})


def test_the_split_depends_on_the_seed_and_not_on_the_model(registry: Registry) -> None:
    one, other = stages(registry), stages(registry, model="mlp_bn")
    assert all(torch.equal(pixels(a), pixels(b)) for a, b in zip(one, other, strict=True))
    assert not torch.equal(pixels(one[0]), pixels(stages(registry, seed=1)[0]))


def test_the_test_set_is_the_same_for_every_seed(registry: Registry) -> None:
    assert torch.equal(pixels(stages(registry)[0], "test"), pixels(stages(registry, seed=1)[0], "test"))


def test_there_is_no_validation_unless_asked_for(registry: Registry) -> None:
    assert all(stage.validation is None for stage in stages(registry))


@pytest.mark.parametrize("regime", [Accumulate(), Discard(), Buffer(buffer=80)])
def test_validation_is_carved_out_of_every_chunk(registry: Registry, regime: Regime) -> None:
    plain = stages(registry, regime=regime)
    carved = stages(registry, regime=regime, validation=0.2)
    assert [len(stage.train) for stage in stages(registry)] == [44, 87, 130]
    for whole, stage in zip(plain, carved, strict=True):
        assert stage.validation is not None
        aside = {tuple(row.tolist()) for row in pixels(stage, "validation")}
        kept = {tuple(row.tolist()) for row in pixels(stage)}
        assert aside.isdisjoint(kept)
        if not isinstance(regime, Buffer):
            assert aside | kept == {tuple(row.tolist()) for row in pixels(whole)}
            assert len(stage.validation) == pytest.approx(0.2 * len(whole.train), abs=2)


def test_a_validation_share_that_gives_nothing_is_refused(registry: Registry) -> None:
    with pytest.raises(RequestError, match="validation is too small"):
        stages(registry, validation=0.001)


def test_more_training_examples_than_there_are_is_refused(registry: Registry) -> None:
    with pytest.raises(RequestError, match="train_size=5000 is not allowed: there are 1197"):
        stages(registry, train_size=5000)


HALVES = '''"""The newest half of the data."""
from collections.abc import Sequence
from dataclasses import dataclass
from plastibench.api import Regime, setting


@dataclass(frozen=True, kw_only=True)
class NewestShare(Regime):
    """Keep a share of what has arrived."""

    share: float = setting(0.5, within=(0.1, 1.0))

    default_stages = 2

    def window_size(self, chunks: Sequence[int], scale: float) -> int:
        return max(chunks[-1], round(self.share * sum(chunks)))
'''


def test_a_regime_of_a_users_own_runs_from_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "newest_share.py"
    file.write_text(HALVES)
    own = ("--plugin", file, "--set", "regime=newest_share", "--set", "share=0.6", "--set", "stages=none")
    answer = small_run(tmp_path / "home", "--task", "digits", "--method", "warm", *own)
    assert answer.status == 0, answer.err
    assert "regime=newest_share share=0.6" in answer.out
    (record,) = Store(tmp_path / "home").records()
    assert record.spec.regime is not None
    assert record.spec.regime.settings == {"share": 0.6}
    assert [row["num_train"] for row in record.stages] == [65, 78]
    file.write_text(HALVES.replace("max(", "min("))
    assert "1 to do" in small_run(tmp_path / "home", "--task", "digits", "--method", "warm", *own).err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("regime=buffer",), "Buffer needs buffer=...: buffer is a whole number of at least 2"),
        (("buffer=7",), "buffer means nothing with regime=accumulate: leave it out, or set regime=buffer"),
        (("regime=bufer",), "no regime named 'bufer'; did you mean 'buffer'?"),
        (("regime=buffer", "buffer=1"), "buffer=1 is not allowed: buffer is a whole number of at least 2"),
        (("regime=two_phase", "stages=5"), "stages=5 is not allowed: regime TwoPhase has 2 stages"),
        (
            ("regime=buffer", "bufer.buffer=7"),
            "no task, regime, model, method or probe of this grid named 'bufer'",
        ),
    ],
)
def test_settings_of_regimes_are_refused_in_one_sentence(
    registry: Registry, settings: tuple[str, ...], message: str
) -> None:
    texts = dict(text.split("=") for text in settings)
    with pytest.raises(RequestError, match=f"^{re.escape(message)}"):
        Grid(("digits",), ("warm",), settings=texts).specs(registry)


def test_a_regimes_settings_can_have_its_name_as_a_prefix(registry: Registry) -> None:
    settings = {"regime": "buffer", "buffer.buffer": "70", "validation": "0.2"}
    spec = Grid(("digits",), ("warm",), settings=settings).specs(registry)[0]
    assert spec.task_settings["buffer"] == 70
    assert "buffer" not in spec.task.settings
    task: Any = build(spec, registry)[0]
    assert task.regime == Buffer(buffer=70)


def test_a_task_has_its_own_default_regime(registry: Registry) -> None:
    spec = Grid(("imagenet",), ("warm",)).specs(registry)[0]
    assert spec.task_settings["regime"] == "two_phase"
    assert build(spec, registry)[0].num_stages() == 2

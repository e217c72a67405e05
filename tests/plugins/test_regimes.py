"""Which examples a stage sees: arithmetic, then the same on a real stream."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tasks import small_digits

from plastibench.errors import RequestError
from plastibench.plugins.regime import Regime, Window
from plastibench.plugins.regimes.accumulate import Accumulate
from plastibench.plugins.regimes.buffer import Buffer
from plastibench.plugins.regimes.discard import Discard
from plastibench.plugins.regimes.two_phase import TwoPhase
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage
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
    found: torch.Tensor = data.x.flatten(1)
    return found


def test_the_last_stage_has_all_examples_where_they_do_not_divide(registry: Registry) -> None:
    found = stages(registry, train_size=100, stages=7)
    assert [len(stage.train) for stage in found] == [15, 30, 44, 58, 72, 86, 100]
    assert found[-1].chunks == (15, 15, 14, 14, 14, 14, 14)
    assert found[-1].new == 14


def test_max_stages_runs_the_first_ones_of_the_same_schedule(registry: Registry) -> None:
    whole, part = stages(registry, stages=5), stages(registry, stages=5, max_stages=2)
    assert len(part) == 2
    for one, two in zip(whole, part, strict=False):
        assert torch.equal(pixels(one), pixels(two))


def test_two_phase_is_half_and_then_all(registry: Registry) -> None:
    found = stages(registry, regime=TwoPhase(), stages=None, train_size=101)
    assert [len(stage.train) for stage in found] == [51, 101]


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

"""Statistics against brute force, scipy, and published tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from plastibench.analysis import stats
from plastibench.analysis.stats.bootstrap import _ends, bootstrap_means
from plastibench.analysis.stats.ranks import studentized_range

NUMBERS = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
DIFFERENCES = st.lists(NUMBERS, min_size=2, max_size=8)


@settings(max_examples=30)
@given(DIFFERENCES)
def test_sign_flip_is_the_share_of_sign_patterns_as_extreme(differences: list[float]) -> None:
    seen = abs(sum(differences))
    patterns = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in signs_of(differences)
    ]
    share = sum(abs(total) >= seen - 1e-9 for total in patterns) / len(patterns)
    assert stats.sign_flip(differences) == pytest.approx(share)


def signs_of(values: list[float]) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=len(values)))


def test_sign_flip_of_too_few_decides_nothing() -> None:
    assert math.isnan(stats.sign_flip([]))
    assert stats.sign_flip([3.0]) == 1.0


@pytest.mark.parametrize("seeds", [3, 5, 8, 10])
def test_the_smallest_p_is_that_of_differences_with_one_sign(seeds: int) -> None:
    differences = [1.0 + 0.1 * number for number in range(seeds)]
    assert stats.sign_flip(differences) == pytest.approx(stats.smallest_p(seeds))
    assert stats.wilcoxon(differences) == pytest.approx(stats.smallest_p(seeds))


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (6, 8), (12, 9), (19, 10)])
def test_as_many_seeds_are_asked_for_as_holm_needs(comparisons: int, seeds: int) -> None:
    assert stats.fewest_seeds(comparisons) == seeds
    assert comparisons * stats.smallest_p(seeds) < 0.05 <= comparisons * stats.smallest_p(seeds - 1)


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1.0, "1.000")],
)
def test_a_p_is_never_shown_as_zero(p: float, shown: str) -> None:
    assert stats.p_text(p) == shown


def test_sign_flips_of_several_methods_are_those_of_each() -> None:
    draw = np.random.default_rng(5)
    families = [np.round(draw.normal(0.4, 1, n), 2).tolist() for n in (10, 1, 4, 10, 0, 4, 17, 10)]
    assert stats.sign_flips(families) == pytest.approx(
        [stats.sign_flip(one) for one in families], nan_ok=True
    )


def test_holm_is_its_papers_procedure() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=3, max_size=10, unique=True), st.floats(0.1, 50))
def test_tost_is_two_one_sided_t_tests(differences: list[float], margin: float) -> None:
    lower = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    upper = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert stats.equivalent(differences, margin) == pytest.approx(max(lower, upper))
    assert stats.not_worse(differences, margin) == pytest.approx(lower)


def test_differences_without_spread_are_inside_the_margin_or_not() -> None:
    assert stats.equivalent([0.1, 0.1, 0.1], 0.5) == 0.0
    assert stats.equivalent([0.6, 0.6, 0.6], 0.5) == 1.0
    assert math.isnan(stats.equivalent([0.1], 0.5))
    with pytest.raises(ValueError, match="above 0"):
        stats.equivalent([0.1, 0.2], 0.0)


def test_the_bootstrap_draws_seeds_once_for_all_methods_and_within_each_task() -> None:
    base = np.random.default_rng(1).normal(size=(1, 12))
    # A constant gain has no interval when seeds are drawn together, and a wide one when they are not.
    scores = [np.concatenate([base, base + 3]), np.concatenate([base * 0, base * 0 + 3])]
    ((low, high),) = stats.bootstrap(scores, lambda drawn: (drawn[1:] - drawn[:1]).mean(axis=-1))
    assert (low, high) == pytest.approx((3, 3))


def test_the_interval_of_the_probability_of_improvement_is_that_of_brute_force() -> None:
    # Two tasks of three seeds: all 27 x 27 draws, seeds drawn once for both methods, each task by itself.
    scores = [np.array([[1.0, 5.0, 2.0], [2.0, 4.0, 2.0]]), np.array([[3.0, 1.0, 2.0], [1.0, 2.5, 2.5]])]
    seeds = list(itertools.product(range(3), repeat=3))
    shares = [
        stats.probability_of_improvement([a[1, list(i)], b[1, list(j)]], [a[0, list(i)], b[0, list(j)]])
        for a, b in [scores]
        for i in seeds
        for j in seeds
    ]
    ((low, high),) = stats.bootstrap_improvement(scores, 100_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.02)


def test_the_probability_of_improvement_is_drawn_as_the_bootstrap_draws() -> None:
    draw = np.random.default_rng(3)
    scores = [np.round(draw.normal(size=(4, size)), 1) for size in (5, 12)]

    def shares(drawn: np.ndarray) -> np.ndarray:
        tasks = np.split(drawn, [5], axis=-1)
        rows = [[[task[m, r] for task in tasks] for r in range(drawn.shape[1])] for m in range(4)]
        pairs = [list(zip(rows[m], rows[0], strict=True)) for m in range(1, 4)]
        return np.array([[stats.probability_of_improvement(x, y) for x, y in row] for row in pairs])

    expected = stats.bootstrap(scores, shares, 300)
    assert stats.bootstrap_improvement(scores, 300) == [pytest.approx(ends) for ends in expected]


def test_what_methods_share_under_a_seed_stays_paired() -> None:
    # Better by a hair under every seed, and seeds far apart: near one half, and surely above it.
    base = 10.0 * np.arange(12)
    ((low, high),) = stats.bootstrap_improvement([np.stack([base, base + 0.1])])
    assert 0.5 < low < high < 0.65
    ((low, high),) = stats.bootstrap_improvement([np.stack([base, base[::-1] + 0.1])])
    assert low < 0.5 < high


def test_the_bootstrap_interval_is_that_of_brute_force() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    means = [np.mean(draw) for draw in itertools.product(values, repeat=5)]
    ((low, high),) = stats.bootstrap([values[None]], lambda drawn: drawn.mean(axis=-1), 20_000)
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.1)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.1)


def test_intervals_are_t_below_ten_seeds_and_bootstrapped_from_there_on() -> None:
    values = [float(number**2) for number in range(10)]
    few = stats.paired([(value, 0.0) for value in values[:9]])
    t = scipy_stats.t.interval(0.95, 8, np.mean(values[:9]), scipy_stats.sem(values[:9]))
    assert (few.low, few.high) == pytest.approx(t)
    many = stats.paired([(value, 0.0) for value in values])
    found = scipy_stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    assert (many.low, many.high) == pytest.approx(tuple(found.confidence_interval), rel=0.03)


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert stats.iqm(np.array([[1.0, 2, 3, 100], [4, 4, 4, 4]])) == pytest.approx([2.5, 4])


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.lists(NUMBERS, min_size=1, max_size=6))
def test_probability_of_improvement_is_mann_whitneys_share(x: list[float], y: list[float]) -> None:
    expected = scipy_stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert stats.probability_of_improvement([np.array(x)], [np.array(y)]) == pytest.approx(expected)


def test_a_profile_is_the_share_of_runs_above_each_threshold() -> None:
    scores = [np.array([1.0, 2, 3, 4]), np.array([0.0, 0, 5, 5])]
    assert stats.profile(scores, np.array([-1.0, 2, 6])) == pytest.approx([1, 0.5, 0])


def test_ranks_are_friedmans_with_the_published_critical_difference() -> None:
    draw = np.random.default_rng(0)
    scores = {f"m{number}": list(draw.normal(size=12) + number) for number in range(8)}
    found = stats.ranks(scores)
    assert found.refusal is None
    assert found.mean["m7"] < found.mean["m0"]
    assert sum(found.mean.values()) == pytest.approx(8 * 4.5)
    assert found.p == pytest.approx(scipy_stats.friedmanchisquare(*scores.values()).pvalue)
    # Demsar 2006, table 5: q_0.05 = 3.031 for 8 methods.
    assert found.critical_difference == pytest.approx(3.031 * math.sqrt(8 * 9 / (6 * 12)), abs=2e-3)


def test_ranks_over_too_few_tasks_are_refused_with_the_reason() -> None:
    found = stats.ranks({"a": [1.0, 2.0], "b": [2.0, 1.0], "c": [3.0, 3.0]})
    assert found.refusal is not None
    assert "at least 5 tasks" in found.refusal
    assert found.mean == {}


def test_the_population_spread_is_the_papers() -> None:
    # Five runs whose last stage took 13 or 14 epochs of 391 steps: table 1 of arXiv 2410.23495 prints (156).
    assert int(stats.population_sd([391 * epochs for epochs in (13, 13, 13, 13, 14)])) == 156


@settings(max_examples=60)
@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_wilcoxon_is_scipys(differences: list[float]) -> None:
    kept = [difference for difference in differences if difference]
    if not kept:
        assert stats.wilcoxon(differences) == 1.0
        return
    # scipy tries every pattern of signs where few differences are tied: we say that we do not.
    sizes = {abs(difference) for difference in kept}
    exact = len(kept) <= 50 and len(sizes) == len(kept)
    expected = scipy_stats.wilcoxon(kept, method="exact" if exact else "approx").pvalue
    assert stats.wilcoxon(differences) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [2, 3, 8, 20])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_studentized_range_is_scipys(share: float, k: int) -> None:
    found = studentized_range(share, k)
    assert found == pytest.approx(float(scipy_stats.studentized_range.ppf(share, k, np.inf)), rel=1e-6)


def test_friedmans_test_corrects_for_ties() -> None:
    draw = np.random.default_rng(3)
    scores = {f"m{number}": [float(v) for v in draw.integers(3, size=7)] for number in range(5)}
    found = stats.ranks(scores)
    assert found.p == pytest.approx(scipy_stats.friedmanchisquare(*scores.values()).pvalue)
    assert stats.ranks({name: [1.0] * 7 for name in "abc"}).p == 1.0


@pytest.mark.parametrize("repeats", [30, 1_000, 1_001, 10_000])
def test_the_ends_of_an_interval_are_numpys_quantiles_to_the_bit(repeats: int) -> None:
    draw = np.random.default_rng(repeats)
    plain = draw.normal(size=(5, repeats))
    # Every 20th value, by which a threshold is guessed, is among the smallest.
    order = np.argsort([*range(0, repeats, 20), *(k for k in range(repeats) if k % 20)])
    at_the_sample = np.sort(plain, axis=-1)[:, order]
    for values in (plain, np.round(plain, 1), plain * 0, at_the_sample, -at_the_sample):
        low, high = np.quantile(values, [(1 - 0.95) / 2, 1 - (1 - 0.95) / 2], axis=-1)
        assert _ends(values) == list(zip(low.tolist(), high.tolist(), strict=True))


def test_the_bootstrap_of_means_is_the_bootstrap() -> None:
    scores = np.random.default_rng(5).normal(size=(3, 12))
    expected = stats.bootstrap([scores], lambda drawn: drawn.mean(axis=-1))
    assert bootstrap_means(scores) == [pytest.approx(ends, abs=1e-12) for ends in expected]


def test_iqm_is_scipys_trimmed_mean() -> None:
    values = np.random.default_rng(5).normal(size=(4, 11))
    assert np.array_equal(stats.iqm(values), scipy_stats.trim_mean(values, 0.25, axis=-1))


def test_many_numbers_are_drawn_less_often_and_give_the_same_interval() -> None:
    assert [stats.repeats_for(runs, 20) for runs in (10, 100, 10**6)] == [10_000, 5_000, 1_000]
    scores = [np.random.default_rng(task).normal(size=(2, 10)) for task in range(30)]
    for few, many in zip(
        stats.bootstrap(scores, stats.iqm, 1_000), stats.bootstrap(scores, stats.iqm), strict=True
    ):
        assert few == pytest.approx(many, abs=0.02)


def test_sums_that_are_equal_but_for_rounding_count_as_equal() -> None:
    assert stats.sign_flip([0.1, 0.2, -0.3, 0.1, 0.2, 0.3]) == pytest.approx(
        np.mean([abs(sum(s)) >= 6 for s in itertools.product(*((-v, v) for v in (1, 2, 3, 1, 2, 3)))])
    )

"""Statistics against brute force, scipy, and published tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from plastibench.analysis.stats.bootstrap import (
    bootstrap_intervals,
    improvement_intervals,
    interquartile_mean,
    num_resamples,
    performance_profile,
    probability_of_improvement,
)
from plastibench.analysis.stats.estimate import (
    equivalence_test,
    estimate_mean,
    noninferiority_test,
    paired_difference,
)
from plastibench.analysis.stats.ranks import analyze_ranks, signed_rank_test
from plastibench.analysis.stats.significance import (
    format_p,
    holm_correction,
    min_p_value,
    min_seeds,
    sign_flip_test,
)

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
    assert sign_flip_test(differences) == pytest.approx(share)


def signs_of(values: list[float]) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=len(values)))


def test_sign_flip_test_of_fewer_than_two_differences_rejects_nothing() -> None:
    assert math.isnan(sign_flip_test([]))
    assert sign_flip_test([3.0]) == 1.0


@pytest.mark.parametrize("seeds", [3, 5, 8, 10])
def test_the_smallest_p_is_that_of_differences_with_one_sign(seeds: int) -> None:
    differences = [1.0 + 0.1 * number for number in range(seeds)]
    assert sign_flip_test(differences) == pytest.approx(min_p_value(seeds))
    assert signed_rank_test(differences) == pytest.approx(min_p_value(seeds))


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (6, 8), (12, 9), (19, 10)])
def test_min_seeds_is_what_holms_correction_needs(comparisons: int, seeds: int) -> None:
    assert min_seeds(comparisons) == seeds
    assert comparisons * min_p_value(seeds) < 0.05 <= comparisons * min_p_value(seeds - 1)


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1.0, "1.000")],
)
def test_a_p_value_is_never_shown_as_zero(p: float, shown: str) -> None:
    assert format_p(p) == shown


@pytest.mark.parametrize("n", [17, 24])
def test_sign_flip_test_of_many_integers_counts_every_pattern(n: int) -> None:
    differences = np.random.default_rng(n).integers(-3, 6, n)
    # The sums are whole numbers, so the distribution of a sum is a convolution.
    patterns = np.ones(1)
    for size in np.abs(differences):
        patterns = np.convolve(patterns, [1.0, *[0.0] * (2 * size - 1), 1.0] if size else [2.0])
    sums = np.arange(len(patterns)) - np.abs(differences).sum()
    share = patterns[np.abs(sums) >= abs(differences.sum())].sum() / 2.0**n
    assert sign_flip_test([0.1 * difference for difference in differences]) == share


def test_sign_flip_test_of_differences_of_zero_finds_nothing() -> None:
    assert sign_flip_test([0.0] * 20) == 1.0


@pytest.mark.heavy
def test_sign_flip_test_of_very_many_differences_samples_the_patterns() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, 60).tolist()
    t_test = scipy_stats.ttest_1samp(differences, 0).pvalue
    assert sign_flip_test(differences) == pytest.approx(t_test, abs=0.01)


def test_holm_correction_is_its_papers_procedure() -> None:
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction([0.9, 0.8]) == [1.0, 1.0]
    assert holm_correction([]) == []


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=3, max_size=10, unique=True), st.floats(0.1, 50))
def test_tost_is_two_one_sided_t_tests(differences: list[float], margin: float) -> None:
    lower = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    upper = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert equivalence_test(estimate_mean(differences), margin) == pytest.approx(max(lower, upper))
    assert noninferiority_test(estimate_mean(differences), margin) == pytest.approx(lower)


def test_differences_without_spread_are_inside_the_margin_or_not() -> None:
    assert equivalence_test(estimate_mean([0.1, 0.1, 0.1]), 0.5) == 0.0
    assert equivalence_test(estimate_mean([0.6, 0.6, 0.6]), 0.5) == 1.0
    assert math.isnan(equivalence_test(estimate_mean([0.1]), 0.5))
    with pytest.raises(ValueError, match="above 0"):
        equivalence_test(estimate_mean([0.1, 0.2]), 0.0)


def test_the_bootstrap_draws_seeds_once_for_all_methods_and_within_each_task() -> None:
    base = np.random.default_rng(1).normal(size=(1, 12))
    # A constant gain has no interval when seeds are drawn together, and a wide one when they are not.
    scores = [np.concatenate([base, base + 3]), np.concatenate([base * 0, base * 0 + 3])]
    ((low, high),) = bootstrap_intervals(scores, lambda drawn: (drawn[1:] - drawn[:1]).mean(axis=-1))
    assert (low, high) == pytest.approx((3, 3))


def test_the_interval_of_the_probability_of_improvement_is_that_of_brute_force() -> None:
    # Two tasks of three seeds: all 27 x 27 draws, seeds drawn once for both methods, each task by itself.
    scores = [np.array([[1.0, 5.0, 2.0], [2.0, 4.0, 2.0]]), np.array([[3.0, 1.0, 2.0], [1.0, 2.5, 2.5]])]
    seeds = list(itertools.product(range(3), repeat=3))
    shares = [
        probability_of_improvement([a[1, list(i)], b[1, list(j)]], [a[0, list(i)], b[0, list(j)]])
        for a, b in [scores]
        for i in seeds
        for j in seeds
    ]
    ((low, high),) = improvement_intervals(scores, 100_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.02)


def test_the_probability_of_improvement_is_drawn_as_the_bootstrap_draws() -> None:
    draw = np.random.default_rng(3)
    scores = [np.round(draw.normal(size=(4, size)), 1) for size in (5, 12)]

    def shares(drawn: np.ndarray) -> np.ndarray:
        tasks = np.split(drawn, [5], axis=-1)
        rows = [[[task[m, r] for task in tasks] for r in range(drawn.shape[1])] for m in range(4)]
        pairs = [list(zip(rows[m], rows[0], strict=True)) for m in range(1, 4)]
        return np.array([[probability_of_improvement(x, y) for x, y in row] for row in pairs])

    expected = bootstrap_intervals(scores, shares, 300)
    assert improvement_intervals(scores, 300) == [pytest.approx(ends) for ends in expected]


def test_runs_with_the_same_seed_stay_paired_in_the_bootstrap() -> None:
    # Better by a hair under every seed, and seeds far apart: near one half, and surely above it.
    base = 10.0 * np.arange(12)
    ((low, high),) = improvement_intervals([np.stack([base, base + 0.1])])
    assert 0.5 < low < high < 0.65
    ((low, high),) = improvement_intervals([np.stack([base, base[::-1] + 0.1])])
    assert low < 0.5 < high


def test_the_bootstrap_interval_is_that_of_brute_force() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    means = [np.mean(draw) for draw in itertools.product(values, repeat=5)]
    ((low, high),) = bootstrap_intervals([values[None]], lambda drawn: drawn.mean(axis=-1), 20_000)
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.1)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.1)


def test_intervals_are_t_intervals_for_any_number_of_seeds() -> None:
    values = [float(number**2) for number in range(30)]
    for n in (2, 9, 10, 30):
        found = paired_difference(values[:n], [0.0] * n)
        expected = scipy_stats.t.interval(0.95, n - 1, np.mean(values[:n]), scipy_stats.sem(values[:n]))
        assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [3, 10, 12])
def test_an_interval_covers_the_true_difference_as_often_as_it_says(seeds: int) -> None:
    """Percentiles of a bootstrap would be 92 % of 10 seeds."""
    draws = np.random.default_rng(7).normal(size=(4_000, seeds))
    estimates = [paired_difference(draw, [0.0] * seeds) for draw in draws.tolist()]
    covered = np.mean([found.low <= 0 <= found.high for found in estimates])
    assert covered == pytest.approx(0.95, abs=0.012)


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert interquartile_mean(np.array([[1.0, 2, 3, 100], [4, 4, 4, 4]])) == pytest.approx([2.5, 4])


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.lists(NUMBERS, min_size=1, max_size=6))
def test_probability_of_improvement_is_mann_whitneys_share(x: list[float], y: list[float]) -> None:
    expected = scipy_stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert probability_of_improvement([np.array(x)], [np.array(y)]) == pytest.approx(expected)


def test_a_profile_is_the_share_of_runs_above_each_threshold() -> None:
    scores = [np.array([1.0, 2, 3, 4]), np.array([0.0, 0, 5, 5])]
    assert performance_profile(scores, np.array([-1.0, 2, 6])) == pytest.approx([1, 0.5, 0])


def test_ranks_are_friedmans_with_the_published_critical_difference() -> None:
    draw = np.random.default_rng(0)
    scores = {f"m{number}": list(draw.normal(size=12) + number) for number in range(8)}
    found = analyze_ranks(scores)
    assert found.refusal is None
    assert found.mean_ranks["m7"] < found.mean_ranks["m0"]
    assert sum(found.mean_ranks.values()) == pytest.approx(8 * 4.5)
    assert found.p == pytest.approx(scipy_stats.friedmanchisquare(*scores.values()).pvalue)
    # Demsar 2006, table 5: q_0.05 = 3.031 for 8 methods.
    assert found.critical_difference == pytest.approx(3.031 * math.sqrt(8 * 9 / (6 * 12)), abs=2e-3)


def test_ranks_over_too_few_tasks_are_refused_with_the_reason() -> None:
    found = analyze_ranks({"a": [1.0, 2.0], "b": [2.0, 1.0], "c": [3.0, 3.0]})
    assert found.refusal is not None
    assert "at least 5 settings" in found.refusal
    assert found.mean_ranks == {}


@settings(max_examples=60)
@given(st.lists(NUMBERS.filter(bool), min_size=1, max_size=9, unique_by=abs))
def test_the_signed_rank_test_is_the_share_of_sign_patterns_as_extreme(differences: list[float]) -> None:
    ranks = scipy_stats.rankdata(np.abs(differences))
    observed = abs(float(np.sum(ranks * np.sign(differences))))
    sums = [abs(float(np.sum(ranks * signs))) for signs in signs_of(differences)]
    expected = sum(total >= observed for total in sums) / len(sums)
    assert signed_rank_test(differences) == pytest.approx(expected, abs=1e-12)
    assert signed_rank_test([*differences, 0.0]) == signed_rank_test(differences)


def test_the_signed_rank_test_of_tied_or_many_differences_is_the_normal_approximation() -> None:
    differences = [float(n) for n in (3, -1, 4, 1, -5, 9, 2, -6, 5, 3, 5)]
    ranks = scipy_stats.rankdata(np.abs(differences))
    variance = float(np.sum(ranks**2)) / 4
    above = float(np.sum(ranks[np.array(differences) > 0])) - ranks.sum() / 2
    expected = 2 * scipy_stats.norm.sf(abs(above) / math.sqrt(variance))
    assert signed_rank_test(differences) == pytest.approx(expected, abs=1e-12)
    assert signed_rank_test([0.0, 0.0]) == signed_rank_test([]) == 1.0


@pytest.mark.parametrize(
    ("n", "decimals", "p"),
    [
        (1, 2, 1.0),
        (5, 2, 0.625),
        (8, 1, 0.12118138858542601),
        (12, 0, 0.763024600552995),
        (60, 3, 0.008432496120455199),
        (30, 3, 0.10039735585451126),
    ],
)
def test_the_signed_rank_test_keeps_the_values_of_its_first_implementation(
    n: int, decimals: int, p: float
) -> None:
    cases = [(1, 2), (5, 2), (8, 1), (12, 0), (60, 3), (30, 3)]
    draw = np.random.default_rng(11)
    drawn = {case: np.round(draw.normal(0.3, 1, case[0]), case[1]).tolist() for case in cases}
    assert signed_rank_test(drawn[n, decimals]) == pytest.approx(p, abs=1e-12)


def test_ranks_keep_the_values_of_their_first_implementation() -> None:
    draw = np.random.default_rng(7)
    scores = {f"m{i}": np.round(draw.normal(size=9) + 0.2 * i, 1).tolist() for i in range(6)}
    found = analyze_ranks(scores)
    assert [9 * rank for rank in found.mean_ranks.values()] == pytest.approx([38.5, 33, 44, 30, 23, 20.5])
    assert found.p == pytest.approx(0.02457481390202232, abs=1e-12)
    assert found.critical_difference == pytest.approx(2.5132039499681964, abs=1e-9)


def test_friedmans_test_corrects_for_ties() -> None:
    draw = np.random.default_rng(3)
    scores = {f"m{number}": [float(v) for v in draw.integers(3, size=7)] for number in range(5)}
    found = analyze_ranks(scores)
    assert found.p == pytest.approx(scipy_stats.friedmanchisquare(*scores.values()).pvalue)
    assert analyze_ranks({name: [1.0] * 7 for name in "abc"}).p == 1.0


def test_iqm_is_scipys_trimmed_mean() -> None:
    values = np.random.default_rng(5).normal(size=(4, 11))
    assert np.array_equal(interquartile_mean(values), scipy_stats.trim_mean(values, 0.25, axis=-1))


def test_large_sets_are_resampled_less_often_and_give_the_same_interval() -> None:
    assert [num_resamples(runs, 20) for runs in (10, 100, 10**6)] == [10_000, 5_000, 1_000]
    scores = [np.random.default_rng(task).normal(size=(2, 10)) for task in range(30)]
    for few, many in zip(
        bootstrap_intervals(scores, interquartile_mean, 1_000),
        bootstrap_intervals(scores, interquartile_mean),
        strict=True,
    ):
        assert few == pytest.approx(many, abs=0.02)


def test_sums_that_are_equal_but_for_rounding_count_as_equal() -> None:
    assert sign_flip_test([0.1, 0.2, -0.3, 0.1, 0.2, 0.3]) == pytest.approx(
        np.mean([abs(sum(s)) >= 6 for s in itertools.product(*((-v, v) for v in (1, 2, 3, 1, 2, 3)))])
    )

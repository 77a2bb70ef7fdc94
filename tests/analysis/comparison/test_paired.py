"""Paired bootstrap: against a t-test, against its own promise, and at its edges; the jackknife; Holm's correction by
hand.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vml_bench.analysis.comparison.paired import draw, holm, jackknife, paired_bootstrap
from vml_bench.metrics.frechet import frechet_distance


def test_means_p_values_and_intervals_are_near_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    differences = rng.normal(loc=[0.0, 0.2, 0.5], size=(40, 3))
    found = paired_bootstrap(differences, np.arange(40), draw(40, 20_000))
    exact = stats.ttest_1samp(differences, 0.0)
    bounds = exact.confidence_interval(0.95)
    assert found.difference.tolist() == pytest.approx(differences.mean(axis=0))
    assert found.p.tolist() == pytest.approx(exact.pvalue, abs=0.02)
    assert found.low.tolist() == pytest.approx(bounds.low, abs=0.02)
    assert found.high.tolist() == pytest.approx(bounds.high, abs=0.02)


@pytest.mark.parametrize("photographs", [16, 11])
def test_no_difference_is_found_about_as_often_as_alpha_says(photographs):
    rng = np.random.default_rng(1)
    unit = np.arange(16) if photographs == 16 else np.arange(44) % 11
    shared = rng.normal(size=(photographs, 1500))[unit]
    differences = shared + (0.5 * rng.normal(size=shared.shape) if photographs == 11 else 0)
    found = paired_bootstrap(differences, unit, draw(photographs, 1000))
    assert 0.03 <= (found.p < 0.05).mean() <= 0.07


def test_crops_taken_for_independent_find_what_is_not_there():
    rng = np.random.default_rng(2)
    unit = np.arange(44) % 11
    differences = rng.normal(size=(11, 1000))[unit] + 0.5 * rng.normal(size=(44, 1000))
    alone = paired_bootstrap(differences, np.arange(44), draw(44, 1000))
    together = paired_bootstrap(differences, unit, draw(11, 1000))
    assert (alone.p < 0.05).mean() > 0.2
    assert np.median((together.high - together.low) / (alone.high - alone.low)) > 1.5


def test_interval_and_p_value_agree():
    rng = np.random.default_rng(3)
    found = paired_bootstrap(rng.normal(loc=0.3, size=(20, 400)), np.arange(20), draw(20, 999))
    outside = (found.low > 0) | (found.high < 0)
    assert 0.1 < outside.mean() < 0.9
    np.testing.assert_array_equal(outside, found.p <= 0.05)


def test_images_that_one_of_the_two_lost_are_left_out_pair_by_pair():
    rng = np.random.default_rng(4)
    differences = rng.normal(size=(30, 2))
    differences[:10, 0] = np.nan
    found = paired_bootstrap(differences, np.arange(30), draw(30, 4000))
    assert found.n.tolist() == [20, 30]
    assert found.difference.tolist() == pytest.approx([differences[10:, 0].mean(), differences[:, 1].mean()])
    only = paired_bootstrap(differences[10:, :1], np.arange(20), draw(20, 4000))
    assert found.low[0] == pytest.approx(only.low[0], abs=0.05)


def test_results_do_not_depend_on_how_pairs_are_split_into_blocks(monkeypatch):
    differences = np.random.default_rng(5).normal(size=(12, 7))
    whole = paired_bootstrap(differences, np.arange(12), draw(12, 500))
    monkeypatch.setattr("vml_bench.analysis.comparison.paired.CHUNK", 1000)
    split = paired_bootstrap(differences, np.arange(12), draw(12, 500))
    for name in ("n", "difference", "low", "high", "p"):
        np.testing.assert_allclose(getattr(split, name), getattr(whole, name))


def test_no_spread_one_image_two_images_and_none():
    unit = np.arange(4)
    constant = paired_bootstrap(np.array([[0.0, 0.1]] * 4), unit, draw(4, 500))
    assert constant.p.tolist() == pytest.approx([1.0, 1 / 501])
    assert constant.low.tolist() == pytest.approx([0.0, 0.1])
    assert constant.high.tolist() == pytest.approx([0.0, 0.1])
    nan = np.nan
    few = paired_bootstrap(np.array([[1.0, 1.0, nan], [nan, 2.0, nan]] + [[nan] * 3] * 2), unit, draw(4, 500))
    assert few.n.tolist() == [1, 2, 0]
    assert np.isnan(few.p).tolist() == [True, False, True]
    assert few.p[1] > 0.4
    assert few.low[1] == -np.inf


def test_draws_are_seeded_whole_and_cannot_be_written_to():
    counts = draw(5, 100)
    assert (counts.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(counts, draw.__wrapped__(5, 100))
    assert not np.array_equal(counts, draw(5, 100, seed=1))
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 0


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.9])), [1.0, np.nan, 1.0])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_the_jackknife_of_a_mean_is_the_t_test():
    rng = np.random.default_rng(5)
    values = rng.normal(loc=[0.0, 0.5], size=(12, 2))
    without = np.stack([np.delete(values, i, axis=0).mean(axis=0) for i in range(12)])
    found, exact = jackknife(values.mean(axis=0), without), stats.ttest_1samp(values, 0.0)
    bounds = exact.confidence_interval(0.95)
    assert found.p.tolist() == pytest.approx(exact.pvalue)
    assert found.low.tolist() == pytest.approx(bounds.low)
    assert found.high.tolist() == pytest.approx(bounds.high)
    assert jackknife(np.ones(1), np.ones((1, 1))).loc[0, ["low", "high", "p"]].isna().all()


def test_the_jackknife_holds_the_expected_difference_of_two_frechet_distances():
    rng = np.random.default_rng(6)
    unit, scale = np.arange(33) % 11, 1 / np.sqrt(1 + np.arange(48))

    def images():
        return scale * (rng.exponential(size=(11, 48))[unit] + rng.normal(size=(33, 48)))

    def gap(original, first, second, rows):
        return frechet_distance(first[rows], original[rows]) - frechet_distance(second[rows], original[rows])

    found = []
    for _ in range(80):
        original = images()
        restored = [(1 - shrink) * original + noise * images() for shrink, noise in ((0.1, 0.1), (0.1, 0.2))]
        without = [gap(original, *restored, unit != k) for k in range(11)]
        found.append(jackknife(np.array([gap(original, *restored, unit >= 0)]), np.array(without)[:, None]).loc[0])
    expected = np.mean([row.difference for row in found])
    assert 0.87 <= np.mean([row.low <= expected <= row.high for row in found]) < 1

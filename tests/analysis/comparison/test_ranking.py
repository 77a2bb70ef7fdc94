"""Ranks with ties, letters, and what they look like when images are resampled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vml_bench.analysis.comparison.paired import draw
from vml_bench.analysis.comparison.ranking import letters, order_of, resampled_means


def test_equal_means_share_the_better_rank_and_the_direction_counts():
    assert order_of(np.array([0.2, 0.1, 0.2, 0.3]), -1).tolist() == [2, 1, 2, 4]
    assert order_of(np.array([[20.0, 30.0], [5.0, 4.0]]), +1).tolist() == [[2, 1], [1, 2]]


@pytest.mark.parametrize("seed", range(30))
def test_two_methods_share_a_letter_exactly_where_they_are_not_apart(seed):
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((7, 7)) < rng.random(), 1)
    apart |= apart.T
    marks = letters(apart)
    for i, j in itertools.combinations(range(7), 2):
        assert bool(set(marks[i]) & set(marks[j])) != apart[i, j]
    assert all(marks)


def test_letters_by_hand_and_beyond_z():
    assert letters(np.zeros((3, 3), bool)) == ["a", "a", "a"]
    chain = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool)
    assert letters(chain) == ["a", "ab", "b"]
    assert letters(~np.eye(28, dtype=bool))[25:] == ["z", "aa", "ab"]


def test_means_of_resamples_weigh_every_image_of_a_drawn_unit():
    scores = np.array([[1.0], [3.0], [8.0]])
    unit = np.array([0, 0, 1])
    means = resampled_means(scores, unit, np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
    assert means[:, 0].tolist() == [2.0, 4.0, 8.0]
    drawn = resampled_means(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50), draw(50, 2000))
    assert drawn.std(axis=0) == pytest.approx(1 / np.sqrt(50), rel=0.25)

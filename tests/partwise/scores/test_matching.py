"""The matching of the greatest sum, against all matchings."""

import itertools

import numpy as np
import pytest

from partwise.scores.matching import match_most


def best_sum(similarities, least):
    rows, columns = similarities.shape
    allowed = (similarities >= least) & (similarities > 0)
    return max(
        sum(similarities[i, j] for i, j in zip(range(rows), order, strict=False) if j < columns and allowed[i, j])
        for order in itertools.permutations(range(rows + columns), rows)
    )


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("least", [0.0, 0.5])
def test_the_sum_is_the_greatest_of_all_matchings(size, least):
    rng = np.random.default_rng(0)
    for _ in range(20):
        similarities = rng.random(size) * (rng.random(size) < 0.8)
        pairs = match_most(similarities, least)
        found = similarities[pairs[:, 0], pairs[:, 1]]
        assert (found >= least).all()
        assert found.sum() == pytest.approx(best_sum(similarities, least))
        assert all(len(set(column)) == len(pairs) for column in pairs.T.tolist())


def test_nobody_matches_nobody():
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert match_most(np.zeros(shape), 0.1).shape == (0, 2)
    assert match_most(np.zeros((2, 2)), 0.0).shape == (0, 2)

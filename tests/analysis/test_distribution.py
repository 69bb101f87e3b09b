import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codert.analysis.distribution import STEPS, Difference, Distribution
from codert.errors import InputError

FINITE = st.floats(-100, 100)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(FINITE, st.integers(0, 4)), min_size=1).filter(
        lambda x: any(n for _, n in x)
    )
)
def test_a_weight_is_so_many_copies(pairs: list[tuple[float, int]]) -> None:
    values, weights = zip(*pairs, strict=True)
    copies = [value for value, weight in pairs for _ in range(weight)]
    found = Distribution.of(values, weights)
    assert found.mean == pytest.approx(np.mean(copies), abs=1e-9)
    assert found.quantiles == tuple(
        np.quantile(copies, np.array(STEPS) / 100, method="inverted_cdf")
    )


def test_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        Distribution.of([])
    with pytest.raises(InputError, match="nothing to measure"):
        Difference.of([], [], [])


def test_the_interval_covers_a_known_difference() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        n = rng.integers(1, 20, 40)
        first = n * (2 + rng.normal(0, 1, 40))
        found = Difference.of(first, n * 1.5, n, samples=300, seed=trial)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
        assert found.mean == pytest.approx((first - 1.5 * n).sum() / n.sum())
    assert 175 <= covered <= 200


def test_one_utterance_says_nothing_of_others() -> None:
    for sizes in ([4.0], [4.0, 0.0]):  # of which the other has nothing of what is measured
        found = Difference.of([8.0, 0.0][: len(sizes)], [4.0, 0.0][: len(sizes)], sizes)
        assert (found.mean, found.low, found.high, found.held) == (1.0, None, None, None)
        assert str(found) == "1.00 of one alone"
    found = Difference.of([8.0, 2.0], [4.0, 1.0], [4.0, 1.0])
    assert found.held
    assert str(found) == "1.00 [1.00, 1.00]"

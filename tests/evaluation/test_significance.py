import itertools
import time

import kaldialign
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codert.errors import InputError
from codert.evaluation.significance import bootstrap_interval, compare

COUNT = st.integers(0, 9)
# Reference errors, system errors and words of each utterance; some are said, some are wrong.
UTTERANCES = st.lists(st.tuples(COUNT, COUNT, st.integers(1, 9)), min_size=3, max_size=20).filter(
    lambda rows: any(row[0] for row in rows)
)


def made_up(
    utterances: int, reference: float, system: float
) -> tuple[list[int], list[int], list[int]]:
    generator = np.random.default_rng(0)
    words = generator.integers(1, 20, utterances)
    first, second = generator.binomial(words, reference), generator.binomial(words, system)
    return first.tolist(), second.tolist(), words.tolist()


@settings(max_examples=50, deadline=None)
@given(UTTERANCES)
def test_interval_contains_the_rate(rows: list[tuple[int, int, int]]) -> None:
    errors, _, words = zip(*rows, strict=True)
    interval = bootstrap_interval(errors, words, samples=2000)
    assert interval.low <= 100 * sum(errors) / sum(words) + 1e-9
    assert interval.high >= 100 * sum(errors) / sum(words) - 1e-9


@settings(max_examples=50, deadline=None)
@given(UTTERANCES)
def test_comparison_has_the_sign_of_the_difference(rows: list[tuple[int, int, int]]) -> None:
    reference, system, _ = zip(*rows, strict=True)
    found = compare(reference, system, samples=2000)
    assert np.sign(found.werr) == np.sign(sum(reference) - sum(system))
    assert 0 < found.p <= 1
    assert found.low <= found.high


@settings(max_examples=50, deadline=None)
@given(UTTERANCES)
def test_p_agrees_with_the_interval(rows: list[tuple[int, int, int]]) -> None:
    # With an error in every utterance no sample is left out of the interval.
    reference, system = [row[0] + 1 for row in rows], [row[1] for row in rows]
    found = compare(reference, system, samples=2000)
    if found.low > 0 or found.high < 0:
        assert found.p <= 0.05 + 2 / 2000
    if found.low < 0 < found.high:
        assert found.p >= 0.05 - 2 / 2000


def test_identical_systems_do_not_differ() -> None:
    errors, _, _ = made_up(50, 0.2, 0.1)
    found = compare(errors, errors)
    assert (found.werr, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_as_sure_as_samples_allow() -> None:
    reference, system, _ = made_up(500, 0.4, 0.1)
    found = compare(reference, system, samples=999)
    assert found.p == pytest.approx(2 / 1000)
    assert 60 < found.low < found.werr < found.high < 90


def test_p_is_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(3)
    below = [compare(*generator.binomial(8, 0.2, (2, 80)), samples=500).p < 0.1 for _ in range(300)]
    assert 0.05 < np.mean(below) < 0.16


def test_interval_agrees_with_all_possible_drawings() -> None:
    errors, words = np.array([0, 1, 4, 2]), np.array([3, 5, 4, 6])
    drawn = np.array(list(itertools.product(range(4), repeat=4)))
    rates = 100 * errors[drawn].sum(1) / words[drawn].sum(1)
    found = bootstrap_interval(errors, words, samples=200_000)
    assert [found.low, found.high] == pytest.approx(np.percentile(rates, [2.5, 97.5]), abs=0.5)


def test_interval_agrees_with_kaldialign() -> None:
    errors, _, words = made_up(200, 0.3, 0.2)
    references = [["said"] * n for n in words]
    hypotheses = [["wrong"] * e + ["said"] * (n - e) for e, n in zip(errors, words, strict=True)]
    theirs = kaldialign.bootstrap_wer_ci(references, hypotheses)
    ours = bootstrap_interval(errors, words)
    # Theirs is a normal approximation, ours the percentiles.
    assert ours.low == pytest.approx(100 * theirs["ci95min"], abs=0.3)
    assert ours.high == pytest.approx(100 * theirs["ci95max"], abs=0.3)


def test_same_seed_same_figures() -> None:
    reference, system, words = made_up(60, 0.3, 0.25)
    assert compare(reference, system, seed=1) == compare(reference, system, seed=1)
    assert compare(reference, system, seed=1) != compare(reference, system, seed=2)
    assert bootstrap_interval(system, words) == bootstrap_interval(system, words)


def test_samples_without_an_error_of_the_reference_are_left_out() -> None:
    found = compare([1, 0, 0], [0, 0, 1], samples=2000)
    assert np.isfinite([found.low, found.high]).all()
    assert found.p == 1


def test_ten_thousand_samples_are_quick() -> None:
    reference, system, _ = made_up(1200, 0.3, 0.25)
    started = time.process_time()
    compare(reference, system)
    assert time.process_time() - started < 1


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="no words"):
        bootstrap_interval([1, 0], [0, 0])
    with pytest.raises(InputError, match="no words"):
        bootstrap_interval([], [])
    with pytest.raises(InputError, match="makes no errors"):
        compare([0, 0], [1, 0])
    with pytest.raises(InputError, match="same utterances"):
        compare([1, 0], [1])

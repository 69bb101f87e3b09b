import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codert.analysis.distribution import Numbers
from codert.analysis.similarity import grouped, mantel, phone_distance, similarity

N = 24


def random_distances(rng: np.random.Generator) -> Numbers:
    """Between points of a plane, so that entries depend on each other as phones' do."""
    points = rng.normal(size=(N, 2))
    distances: Numbers = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return distances


def random_rivals(rng: np.random.Generator) -> Numbers:
    """Some labels are everybody's rivals, as a biased encoder has them."""
    rivals: Numbers = rng.exponential(size=(N, N)) * rng.exponential(size=N)
    np.fill_diagonal(rivals, 0)
    rivals /= rivals.sum(1, keepdims=True)
    return rivals


def test_p_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(0)
    groups = grouped([1] * N, list(range(N)))
    p = [mantel(random_rivals(rng), random_distances(rng), groups, 99, i)[2] for i in range(300)]
    for level in (0.1, 0.25, 0.5, 0.75):
        # Within three standard deviations of what 300 draws give.
        assert abs(np.mean(np.array(p) <= level) - level) < 3 * np.sqrt(level * (1 - level) / 300)


def test_p_is_small_where_rivals_are_near() -> None:
    rng = np.random.default_rng(1)
    distances = random_distances(rng)
    rivals = random_rivals(rng) * np.exp(-2 * distances)
    observed, matched, p = mantel(rivals, distances, grouped([1] * N, [1] * N), 999)
    assert observed < matched
    assert p <= 0.01


def test_what_length_and_frequency_explain_is_not_taken_for_likeness() -> None:
    # Rivals are of the same group and nearer than others for that alone.
    rng = np.random.default_rng(2)
    groups = [np.arange(i, i + 6) for i in range(0, N, 6)]
    same = np.zeros((N, N))
    for group in groups:
        same[np.ix_(group, group)] = 1
    p = [
        mantel(random_rivals(rng) * same, random_distances(rng) + 5 * (1 - same), groups, 99, i)[2]
        for i in range(100)
    ]
    assert np.mean(np.array(p) <= 0.1) < 0.2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 99)), min_size=1, max_size=60))
def test_groups_hold_each_piece_once_and_are_alike_in_length(
    pieces: list[tuple[int, int]],
) -> None:
    lengths, counts = zip(*pieces, strict=True)
    groups = grouped(lengths, counts)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(pieces)))
    assert len(groups) == 1 or min(map(len, groups)) >= 6
    for group in groups:
        # Only lengths that have too few pieces for a group are put with others.
        many = [length for length in {lengths[i] for i in group} if lengths.count(length) >= 6]
        assert len(many) <= 1


def test_distances_are_shares_of_the_longer() -> None:
    assert phone_distance(("k", "æ", "t"), ("k", "æ", "t")) == 0
    assert phone_distance(("k", "æ", "t"), ("b", "æ")) == pytest.approx(2 / 3)
    assert phone_distance(("k",), ("b", "æ")) == 1
    assert phone_distance((), ()) == 0


def test_pieces_that_rhyme_are_found_similar() -> None:
    onsets, rhymes = ["b", "d", "f", "g", "k", "l", "m", "n"], ("iː", "eɪ", "oʊ")
    phones = {
        2 + 8 * r + o: (onset, rhyme)
        for r, rhyme in enumerate(rhymes)
        for o, onset in enumerate(onsets)
    }
    rivals = np.full((26, 26), 0.001)
    for i, j in np.ndindex(26, 26):
        if i in phones and j in phones and phones[i][1] == phones[j][1]:
            rivals[i, j] = 0.05
    found = similarity(rivals, [0, 0] + [9] * 24, phones, samples=999)
    assert found is not None
    assert found.pieces == 24
    assert found.p <= 0.01
    assert found.distance < found.matched


def test_too_few_pieces_are_not_compared() -> None:
    assert similarity(np.ones((4, 4)), [0, 9, 9, 0], {1: ("a",), 2: ("b",)}) is None
    assert similarity(np.ones((4, 4)), [0, 1, 1, 1], {1: ("a",), 2: ("b",), 3: ("c",)}) is None
    assert similarity(np.ones((4, 4)), [0] * 4, {}) is None

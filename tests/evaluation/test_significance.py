import itertools
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import kaldialign
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codert.errors import InputError
from codert.evaluation.significance import (
    bootstrap_interval,
    by_drawn,
    compare,
    compare_over_seeds,
    mapsswe,
)

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


@settings(max_examples=50)
@given(UTTERANCES)
def test_interval_contains_the_rate(rows: list[tuple[int, int, int]]) -> None:
    errors, _, words = zip(*rows, strict=True)
    interval = bootstrap_interval(errors, words, samples=2000)
    assert interval.low <= 100 * sum(errors) / sum(words) + 1e-9
    assert interval.high >= 100 * sum(errors) / sum(words) - 1e-9


def test_speakers_are_drawn_where_there_are_several() -> None:
    assert by_drawn(["a", "b", "a", "c"], [1, 2, 3, 4], [2, 4, 6, 8]) == [[4, 2, 4], [8, 4, 8]]
    assert by_drawn(["a", "a", "a"], [1, 2, 3]) == [[1, 2, 3]]
    # Of two speakers who repeat themselves no more is known for the repetitions.
    errors, words = by_drawn(["a", "b"] * 50, [1, 2] * 50, [2, 4] * 50)
    assert bootstrap_interval(errors, words) == bootstrap_interval([1, 2], [2, 4])


@settings(max_examples=50)
@given(UTTERANCES)
def test_comparison_has_the_sign_of_the_difference(rows: list[tuple[int, int, int]]) -> None:
    reference, system, _ = zip(*rows, strict=True)
    found = compare(reference, system, samples=2000)
    assert np.sign(found.werr) == np.sign(sum(reference) - sum(system))
    assert 0 < found.p <= 1
    assert found.low <= found.high


@settings(max_examples=50)
@given(UTTERANCES)
def test_p_agrees_with_the_interval(rows: list[tuple[int, int, int]]) -> None:
    reference, system, _ = zip(*rows, strict=True)
    found = compare(reference, system, samples=2000)
    differ = sum(a != b for a, b in zip(reference, system, strict=True))
    if found.low > 0 or found.high < 0:
        assert found.p <= max(0.05 + 2 / 2000, 2 / 2**differ)
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


def test_samples_without_an_error_of_the_reference_speak_against_the_system() -> None:
    # Which makes an error in each of them, so infinitely many more; once in three samples.
    found = compare([4, 0, 0, 0], [1, 1, 1, 1])
    assert (found.werr, found.low, found.interval) == (0, -np.inf, None)
    assert found.high > 0
    assert found.p > 0.5
    # In few samples, the interval has a lower end, and it is no gain.
    some = compare([4] * 4 + [0] * 4, [1] * 8)
    assert some.interval == [some.low, some.high]
    assert some.low < 0 < some.high
    # Where neither makes an error neither is better.
    assert compare([1, 0, 0], [0, 0, 0]).low == 0


def test_p_of_few_is_no_surer_than_their_signs() -> None:
    assert compare([10, 10], [9, 9]).p == 0.5
    assert compare([10, 10, 5, 5], [9, 9, 5, 5]).p == 0.5
    assert compare([10] * 6, [9] * 6).p == 2 / 2**6
    assert compare_over_seeds([[10, 10]] * 2, [[9, 9]] * 2, ["a", "b"]).p == 0.5


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="no words"):
        bootstrap_interval([1, 0], [0, 0])
    with pytest.raises(InputError, match="no words"):
        bootstrap_interval([], [])
    with pytest.raises(InputError, match="makes no errors"):
        compare([0, 0], [1, 0])
    with pytest.raises(InputError, match="same utterances"):
        compare([1, 0], [1])


def trained(
    generator: np.random.Generator, seeds: int, speakers: int, shift: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
    """Errors of two systems whose rates vary with the speaker and, each for itself, the seed."""
    by_speaker = generator.normal(0, 0.5, (1, speakers)).repeat(4, axis=1)
    rates = [
        8 * np.exp(mean + generator.normal(0, 0.15, (seeds, 1)) + by_speaker)
        for mean in (0.0, shift)
    ]
    reference, system = (generator.poisson(rate) for rate in rates)
    return reference, system, [str(i) for i in range(speakers) for _ in range(4)]


def test_over_seeds_agrees_with_all_possible_drawings() -> None:
    # Two seeds, three speakers of whom one said two utterances.
    reference, system = (
        np.array([[4, 2, 3, 5], [6, 1, 4, 4]]),
        np.array([[3, 3, 2, 4], [4, 2, 5, 1]]),
    )
    speakers = ["a", "b", "b", "c"]
    said_by = {"a": [0], "b": [1, 2], "c": [3]}
    avoided = []
    for seed, *drawn in itertools.product(range(2), "abc", "abc"):  # one fewer of each
        before, after = (
            sum(int(errors[seed, i]) for name in drawn for i in said_by[name])
            for errors in (reference, system)
        )
        avoided.append(100 * (before - after) / before)
    found = compare_over_seeds(reference, system, speakers, samples=200_000)
    assert found.werr == pytest.approx(100 * (29 - 24) / 29)
    ends = np.percentile(avoided, [2.5, 97.5], method="inverted_cdf")
    assert [found.low, found.high] == pytest.approx(ends, abs=0.1)
    rarer = min(np.mean(np.array(avoided) <= 0), np.mean(np.array(avoided) >= 0))
    assert found.p == pytest.approx(min(1, 2 * rarer), abs=0.01)


def test_over_seeds_covers_seeds_and_speakers() -> None:
    generator = np.random.default_rng(0)
    truth = 100 * (1 - np.exp(-0.1))
    both, speakers_alone = [], []
    for _ in range(300):
        reference, system, speakers = trained(generator, 8, 20, shift=-0.1)
        found = compare_over_seeds(reference, system, speakers, samples=500)
        both.append(found.low <= truth <= found.high)
        one = compare_over_seeds(reference.sum(0)[None], system.sum(0)[None], speakers, samples=500)
        speakers_alone.append(one.low <= truth <= one.high)
    assert 0.88 < np.mean(both) <= 0.99
    assert np.mean(speakers_alone) < 0.7


def test_p_over_seeds_is_seldom_small_where_nothing_differs() -> None:
    generator = np.random.default_rng(1)
    below = [
        compare_over_seeds(*trained(generator, 8, 20, shift=0.0), samples=500).p < 0.1
        for _ in range(300)
    ]
    assert 0.04 < np.mean(below) < 0.18


def test_of_one_speaker_utterances_are_drawn() -> None:
    reference, _, one = trained(np.random.default_rng(3), 3, 20, shift=0.0)
    system = reference[:, ::-1]  # of equal worth
    found = compare_over_seeds(reference, system, ["me"] * len(one))
    assert found == compare_over_seeds(reference, system, [str(i) for i in range(len(one))])
    assert found.p > 0.05
    assert found.low < 0 < found.high


def test_a_comparison_agrees_with_all_possible_drawings() -> None:
    reference, system = np.array([5, 1, 4, 2]), np.array([1, 2, 3, 2])
    drawn = np.array(list(itertools.product(range(4), repeat=3)))
    before, after = reference[drawn].sum(1), system[drawn].sum(1)
    found = compare(reference, system, samples=200_000)
    percentiles = np.percentile(100 * (before - after) / before, [2.5, 97.5])
    assert [found.low, found.high] == pytest.approx(percentiles, abs=0.5)


def test_over_seeds_the_same_draw_is_for_both() -> None:
    reference, _, speakers = trained(np.random.default_rng(2), 3, 5, shift=0.0)
    found = compare_over_seeds(reference, reference, speakers)
    assert (found.werr, found.low, found.high, found.p) == (0, 0, 0, 1)
    half = compare_over_seeds(2 * reference, reference, speakers)
    assert (half.werr, half.low, half.high) == (50, 50, 50)


def test_over_seeds_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="give both for the same ones"):
        compare_over_seeds([[1, 2]], [[1, 2]], ["a"])
    with pytest.raises(InputError, match="makes no errors"):
        compare_over_seeds([[0, 0]], [[1, 2]], ["a", "b"])


def test_mapsswe_agrees_with_a_calculation_by_hand() -> None:
    # Differences 2, 0, 1, -1: mean 1/2, variance 5/3, so W = 1/2 * sqrt(4 * 3/5) = sqrt(3/5).
    assert mapsswe([3, 1, 2, 0], [1, 1, 1, 1]) == pytest.approx(0.438578)
    assert mapsswe([1, 1, 1, 1], [3, 1, 2, 0]) == pytest.approx(0.438578)
    # Where both are right there is no segment.
    assert mapsswe([3, 1, 2, 0, 0, 0], [1, 1, 1, 1, 0, 0]) == pytest.approx(0.438578)


def test_mapsswe_of_what_does_not_differ() -> None:
    assert mapsswe([1, 2, 3], [1, 2, 3]) == 1
    assert mapsswe([0, 0], [0, 0]) == 1
    assert mapsswe([1, 0], [0, 0]) == 1  # one segment has no spread


def test_mapsswe_of_few_segments_is_no_surer_than_their_signs() -> None:
    assert mapsswe([1, 1, 0], [0, 0, 0]) == 0.5
    assert mapsswe([1, 1, 1, 1, 2], [0] * 5) == 2 / 2**5
    # Where many differ it is the normal distribution's.
    assert mapsswe([1] * 60 + [2] * 60, [0] * 120) < 1e-12


@pytest.mark.skipif(not shutil.which("sctk"), reason="NIST's scoring toolkit, Debian's sctk")
@pytest.mark.parametrize(("seed", "rates"), [(1, (0.4, 0.25)), (2, (0.5, 0.4)), (4, (0.3, 0.2))])
def test_mapsswe_agrees_with_sc_stats(
    seed: int, rates: tuple[float, float], tmp_path: Path
) -> None:
    # Only the middle one of three words is ever wrong, so that their segments are utterances too.
    wrong = np.random.default_rng(seed).random((80, 2)) < rates

    def write(name: str, wrong: Iterable[bool]) -> None:
        middles = ["wrong" if each else "right" for each in wrong]
        lines = [f"begin{i} {word} end{i} (s{i % 4}-{i:03d})\n" for i, word in enumerate(middles)]
        (tmp_path / name).write_text("".join(lines))

    def nist(*words: str, given: str = "") -> str:
        done = subprocess.run(
            ["sctk", *words], input=given, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout

    write("ref", [False] * 80)
    aligned = ""
    for system in (0, 1):
        name = f"system{system}"
        write(name, wrong[:, system])
        trn = ("-r", "ref", "trn", "-h", name, "trn", name, "-i", "spu_id")
        aligned += nist("sclite", *trn, "-o", "sgml", "stdout")
    nist("sc_stats", "-p", "-t", "mapsswe", "-u", "-n", "found", given=aligned)
    report = (tmp_path / "found.stats.unified").read_text()
    theirs = re.search(r"MP .* system0 .* (\d\.\d{3}) ", report)
    assert theirs, report
    # They take it from a table.
    assert mapsswe(*wrong.T) == pytest.approx(float(theirs[1]), abs=0.01)


def test_mapsswe_is_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(4)
    below = [mapsswe(*generator.binomial(8, 0.2, (2, 80))) < 0.1 for _ in range(500)]
    assert 0.06 < np.mean(below) < 0.14


def test_one_alone_has_no_interval_and_no_p() -> None:
    for measure in (bootstrap_interval, compare):
        with pytest.raises(InputError, match="says nothing of others"):
            measure([3], [5])
    with pytest.raises(InputError, match="says nothing of others"):
        compare_over_seeds([[3]], [[2]], ["me"])
    assert compare_over_seeds([[3, 2], [3, 1]], [[2, 2], [2, 2]], ["me"] * 2).werr > 0

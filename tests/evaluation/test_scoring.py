import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codert.errors import InputError
from codert.evaluation.scoring import UtteranceScore, alignment, cer, kinds, score, wer

WORDS = st.lists(st.sampled_from(["a", "ab", "b", "cab", "d"]), max_size=8).map(" ".join)
SAID = WORDS.filter(bool)


def test_counts_of_one_utterance() -> None:
    assert score("u1", "anna", "turn the lights on", "turn lights off now") == UtteranceScore(
        id="u1",
        speaker="anna",
        reference="turn the lights on",
        hypothesis="turn lights off now",
        errors=3,
        words=4,
        character_errors=9,
        characters=18,
    )


def test_extra_whitespace_is_no_error() -> None:
    found = score("u", "s", "turn  it on", " turn it on ")
    assert (found.errors, found.character_errors, found.characters) == (0, 0, 10)


@given(st.lists(st.tuples(SAID, WORDS), min_size=1, max_size=5))
def test_rates_agree_with_jiwer(texts: list[tuple[str, str]]) -> None:
    scores = [score(str(i), "s", *pair) for i, pair in enumerate(texts)]
    references, hypotheses = map(list, zip(*texts, strict=True))
    assert wer(scores) == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert cer(scores) == pytest.approx(100 * jiwer.cer(references, hypotheses))


def test_kinds_of_errors() -> None:
    # "the" is not heard, "lights" taken for another, "now" made up.
    scores = [
        score("u1", "s", "turn the lights on", "turn nights on"),
        score("u2", "s", "go", "go now"),
    ]
    assert kinds(scores) == (20, 20, 20)


@given(st.lists(st.tuples(SAID, WORDS), min_size=1, max_size=5))
def test_kinds_add_up_to_the_word_error_rate(texts: list[tuple[str, str]]) -> None:
    scores = [score(str(i), "s", *pair) for i, pair in enumerate(texts)]
    assert sum(kinds(scores)) == pytest.approx(wer(scores))
    # Whatever is taken for what, more or fewer words are so many insertions or deletions more.
    more = sum(len(heard.split()) - len(said.split()) for said, heard in texts)
    words = sum(each.words for each in scores)
    assert kinds(scores).inserted - kinds(scores).deleted == pytest.approx(100 * more / words)


@given(WORDS, WORDS)
def test_alignment_spells_both_texts_and_every_error(reference: str, hypothesis: str) -> None:
    pairs = alignment(reference, hypothesis)
    assert " ".join(said for said, _ in pairs if said) == reference
    assert " ".join(heard for _, heard in pairs if heard) == hypothesis
    errors = sum(said != heard for said, heard in pairs)
    assert errors == score("u", "s", reference, hypothesis).errors


def test_words_where_nothing_was_said_count_as_errors() -> None:
    assert wer([score("u1", "s", "", "hello you"), score("u2", "s", "a b c d", "a b c d")]) == 50


@pytest.mark.parametrize("rate", [wer, cer, kinds])
def test_no_words_have_no_rate(rate: object) -> None:
    assert callable(rate)
    with pytest.raises(InputError, match="references have no"):
        rate([score("u", "s", "", "hello")])

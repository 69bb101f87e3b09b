import pytest

from codert.analysis.pronunciation import Word, align, pronunciations
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.errors import InputError

CUT = {1: ("k", "æ"), 2: ("t",), 3: ("b", "ɪ"), 4: ("n",), 5: (), 6: ("ʃ", "ə", "n")}
LETTERS = {1: 2, 2: 1, 3: 2, 4: 1, 5: 1, 6: 4}


def test_stretches_of_phones_are_found_again() -> None:
    words = [(1, 2), (1, 4), (3, 2), (3, 4), (1, 6), (3, 6), (1, 2, 5), (3, 4, 5), (1, 4, 6)]
    given = [Word(word, tuple(phone for i in word for phone in CUT[i]), 3) for word in words]
    assert align(given, LETTERS) == {i: phones for i, phones in CUT.items() if phones}


def test_a_piece_that_is_a_word_has_all_its_phones() -> None:
    letter = Word((7,), ("d", "ʌ", "b", "əl", "j", "uː"), 9)
    inside = Word((7, 2), ("w", "t"), 1)
    assert align([letter, inside], LETTERS | {7: 1})[7] == letter.phones


@pytest.mark.parametrize("phones", [1, 2, 30])
def test_any_number_of_phones_can_be_cut(phones: int) -> None:
    found = align([Word((1, 2, 3), tuple("x" * phones), 1)], LETTERS)
    assert sum(map(len, found.values())) <= phones


def test_words_without_phones_are_left_out() -> None:
    assert align([Word((1,), (), 1)], LETTERS) == {}


def test_letters_are_named_and_words_are_read() -> None:
    pytest.importorskip("espeakng_loader")
    texts = ["B SEVEN", "C SEVEN", "SEVEN B C", "B B", "C"] * 3
    pieces = WordPieces.train(texts, WordPieceConfig(size=12))
    found = pronunciations(texts, pieces, "en-us")
    named = {symbol: found[i] for i, symbol in enumerate(pieces.symbols) if i in found}
    assert named["▁B"] == ("b", "iː")
    assert named["▁C"] == ("s", "iː")
    with pytest.raises(InputError, match="no voice 'xx-klingon'"):
        pronunciations(texts, pieces, "xx-klingon")

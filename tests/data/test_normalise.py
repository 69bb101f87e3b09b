import pytest
from hypothesis import given
from hypothesis import strategies as st

from codert.data.text import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello, world!", "HELLO WORLD"),
        ("it\u2019s O`Neill \u02bcn", "IT'S O'NEILL 'N"),
        ("  a \t b\n", "A B"),
        ("well-known/e-mail", "WELL KNOWN E MAIL"),
        ("\uff21\uff22\uff11 \ufb01ne", "AB1 FINE"),  # full-width letters, a ligature
        ("cafe\u0301", "CAF\u00c9"),
        ("stra\u00dfe", "STRASSE"),
        ("co\u00adoperate\u200b", "COOPERATE"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "\u041f\u0420\u0418\u0412\u0415\u0422"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947!", "\u0928\u092e\u0938\u094d\u0924\u0947"),
        ("...", ""),
        ("rock ' n ' roll", "ROCK N ROLL"),
        ("``it's'' he said", "IT'S HE SAID"),
        ("'tis the boys' '", "'TIS THE BOYS'"),
        ("'", ""),
        ("\u2018yes\u2019, it\u2019s \u2018don\u2019t go\u2019.", "YES IT'S DON'T GO"),
        ("\u2019tis the boys\u2019 rock \u2018n\u2019 roll", "'TIS THE BOYS' ROCK N ROLL"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_a_normalised_text_stays_as_it_is(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]), max_size=30))
def test_words_are_parted_by_one_space(text: str) -> None:
    words = normalise(text)
    assert words == " ".join(words.split())

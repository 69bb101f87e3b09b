from pathlib import Path
from typing import Literal

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.errors import InputError

from .conftest import TEXTS


def test_the_blank_is_zero_and_silent(pieces: WordPieces) -> None:
    assert len(pieces) == len(pieces.symbols) == 18
    assert pieces.symbols[0] == "<blk>"
    ids = pieces.encode("SEVEN EGGS")
    assert 0 not in ids
    assert pieces.decode([0, *ids, 0]) == "SEVEN EGGS"


@given(st.lists(st.text("ACDEGINOSTV", min_size=1, max_size=5), max_size=5))
def test_covered_text_survives(pieces: WordPieces, words: list[str]) -> None:
    text = " ".join(words)
    assert pieces.decode(pieces.encode(text)) == text
    assert pieces.uncovered(text) is None


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_same_texts_give_the_same_pieces(kind: Literal["unigram", "bpe"]) -> None:
    config = WordPieceConfig(size=18, kind=kind)
    assert WordPieces.train(TEXTS, config) == WordPieces.train(iter(TEXTS), config)
    assert WordPieces.train(TEXTS, config) != WordPieces.train(TEXTS[1:], config)


def test_saved_and_loaded_they_are_equal(pieces: WordPieces, tmp_path: Path) -> None:
    pieces.save(tmp_path / "w.model")
    assert WordPieces.load(tmp_path / "w.model") == pieces
    assert [path.name for path in tmp_path.iterdir()] == ["w.model"]


def test_text_that_no_piece_covers(pieces: WordPieces) -> None:
    assert pieces.uncovered("SEVEN ÉGGS") == "É"


def test_bytes_cover_everything() -> None:
    pieces = WordPieces.train(TEXTS, WordPieceConfig(size=275, byte_fallback=True))
    assert pieces.uncovered("ÉTÉ 你好") is None
    assert pieces.decode(pieces.encode("ÉTÉ 你好")) == "ÉTÉ 你好"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_too_few_and_too_many_pieces(kind: Literal["unigram", "bpe"]) -> None:
    with pytest.raises(InputError, match=r"size 5 .* too small .*; write (\d+) or more"):
        WordPieces.train(TEXTS, WordPieceConfig(size=5, kind=kind))
    with pytest.raises(InputError, match=r"size 500 .* too large .*; write (\d+) or fewer"):
        WordPieces.train(TEXTS, WordPieceConfig(size=500, kind=kind))


def test_the_mend_works() -> None:
    with pytest.raises(InputError) as caught:
        WordPieces.train(TEXTS, WordPieceConfig(size=500))
    size = int(str(caught.value).split("write ")[1].split()[0])
    assert len(WordPieces.train(TEXTS, WordPieceConfig(size=size))) == size


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_text(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no text"):
        WordPieces.train(texts, WordPieceConfig())


def test_files_that_are_no_pieces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: No such file"):
        WordPieces.load(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"junk: not a sentencepiece model"):
        WordPieces.load(tmp_path / "junk")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(tmp_path / "other"),
        vocab_size=20,
        minloglevel=2,
    )
    with pytest.raises(InputError, match=r"other\.model: id 0 is not the blank"):
        WordPieces.load(tmp_path / "other.model")

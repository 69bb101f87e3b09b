"""Word-pieces: the labels that a recogniser writes."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sentencepiece

from codert.errors import InputError, PlanError
from codert.files import write_bytes
from codert.lattice import BLANK

UNKNOWN = 1


@dataclass(frozen=True)
class WordPieceConfig:
    """How many word-pieces, the blank and the unknown included, and how they are found.

    Attributes:
        size: their number.
        kind: how sentencepiece finds them.
        byte_fallback: spell characters outside of the training texts in bytes.
        model: the wordpieces.model of a recogniser whose pieces are taken in place of that.
    """

    size: int = 64
    kind: Literal["unigram", "bpe"] = "unigram"
    byte_fallback: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        """Refuse a size that leaves no word-piece."""
        if self.size < 3:
            raise ValueError("size is at least 3: the blank, the unknown and a word-piece")


class WordPieces:
    """A vocabulary of V word-pieces. Id 0 is the blank and 1 the unknown; equal by its bytes."""

    def __init__(self, model: bytes) -> None:
        """Take a serialised sentencepiece model."""
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._covered: dict[str, bool] = {}

    @classmethod
    def train(cls, texts: Iterable[str], config: WordPieceConfig) -> "WordPieces":
        """The word-pieces of normalised `texts`; the same texts give the same bytes.

        Raises:
            InputError: there is no text, or the size does not suit it.
        """
        texts = [text for text in texts if text.strip()]
        if not texts:
            raise InputError("no text to find word-pieces in; is the training split empty?")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=config.size,
                model_type=config.kind,
                byte_fallback=config.byte_fallback,
                pad_id=BLANK,
                pad_piece="<blk>",
                unk_id=UNKNOWN,
                bos_id=-1,
                eos_id=-1,
                character_coverage=1.0,
                normalization_rule_name="identity",
                max_sentence_length=max(10, *(len(text.encode()) + 1 for text in texts)),
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise _unsuitable(config.size, str(error), texts) from None
        return cls(model.getvalue())

    @classmethod
    def load(cls, path: Path) -> "WordPieces":
        """The word-pieces that were saved at `path`.

        Raises:
            InputError: the file is missing or not a sentencepiece model with a blank of id 0.
        """
        try:
            pieces = cls(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; is this the folder of a run?") from None
        except RuntimeError:
            raise InputError(f"{path}: not a sentencepiece model") from None
        if pieces._processor.pad_id() != BLANK:
            raise InputError(f"{path}: id 0 is not the blank; train word-pieces with codert")
        return pieces

    def save(self, path: Path) -> None:
        """Write the serialised model.

        Raises:
            InputError: the folder cannot be written to.
        """
        write_bytes(path, self.model)

    def encode(self, text: str) -> list[int]:
        """The ids of the pieces of a normalised `text`."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; blanks are silent."""
        text: str = self._processor.decode(list(ids))
        return text

    def uncovered(self, text: str) -> str | None:
        """The first character of `text` that no piece covers, or None."""
        for character in dict.fromkeys(text):
            if character not in self._covered:
                self._covered[character] = UNKNOWN not in self.encode(character)
            if not self._covered[character]:
                return character
        return None

    @property
    def symbols(self) -> list[str]:
        """The V pieces by id, as sentencepiece writes them."""
        return [self._processor.id_to_piece(i) for i in range(len(self))]

    def __len__(self) -> int:
        """V, the blank included."""
        return int(self._processor.get_piece_size())

    def __eq__(self, other: object) -> bool:
        """Whether both are the same model."""
        return isinstance(other, WordPieces) and self.model == other.model

    def __hash__(self) -> int:
        """Equal models have equal hashes."""
        return hash(self.model)


def _unsuitable(size: int, message: str, texts: Sequence[str]) -> PlanError:
    where = f"wordpieces.size {size}"
    if match := re.search(r"required_chars\. \d+ vs (\d+)", message):
        counts = Counter(character for text in texts for character in text)
        rarest = min(counts, key=lambda character: (counts[character], character))
        text = next(text for text in texts if rarest in text)
        return PlanError(
            f"{where} is too small for the characters; write {match[1]} or more, or mend the "
            f"texts: the rarest character is {rarest!r}, as in {text[:60]!r}"
        )
    if match := re.search(r"value <= (\d+)", message):
        return PlanError(f"{where} is too large for so little text; write {match[1]} or fewer")
    return PlanError(f"{where}: sentencepiece cannot find word-pieces: {message}")

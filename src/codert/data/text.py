"""The one rule for what a transcript looks like."""

import re
import unicodedata

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032\u0060\u00b4", "'"))
# Typographic quotation marks, and what they enclose with its apostrophes.
_QUOTED = re.compile(r"(?<!\w)\u2018(?=\w)((?:[^\u2018\u2019]|(?<=\w)\u2019(?=\w))*)\u2019(?!\w)")
# Two are a quotation mark, and one by itself is no word.
_NO_APOSTROPHE = re.compile(r"''+|(?<!\S)'(?!\S)")


def normalise(text: str) -> str:
    """`text` as the recogniser learns and is scored on it.

    NFKC and upper case; letters, marks and digits of any language are kept, and apostrophes,
    of which the typographic ones become `'`. All else parts words; invisible format
    characters vanish. What is enclosed in straight single quotation marks keeps them, for
    nothing tells them from apostrophes, as in 'TIS and BOYS'.

    >>> normalise("It\u2019s 7 o\u2019clock \u2013 caf\u00e9, anyone?")
    "IT'S 7 O'CLOCK CAFÉ ANYONE"
    """
    # Upper case can decompose a letter and NFKC can compose it again, and yield apostrophes.
    plain = _QUOTED.sub(r" \1 ", text).translate(_APOSTROPHES)
    upper = unicodedata.normalize("NFKC", plain).upper()
    whole = unicodedata.normalize("NFKC", upper).translate(_APOSTROPHES)
    kept = _NO_APOSTROPHE.sub(" ", whole.translate(_KEPT))
    return " ".join(unicodedata.normalize("NFKC", kept).split())


class _Kept(dict[int, str]):
    """What becomes of each character, found out once."""

    def __missing__(self, code: int) -> str:
        self[code] = self._of(chr(code))
        return self[code]

    def _of(self, character: str) -> str:
        category = unicodedata.category(character)
        if character == "'" or category[0] in "LMN":
            return character
        return "" if category == "Cf" else " "


_KEPT = _Kept()

"""Cross-validation over speakers: splits by a rule, in place of those that a manifest marks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from codert.data.manifest import Utterance
from codert.errors import InputError

# Of the speakers that are not tested on, every seventh is tuned on, from the fourth.
_DEV_FIRST, _DEV_STEP = 3, 7


@dataclass(frozen=True)
class Fold:
    """Which part of the speakers is held out.

    Attributes:
        number: of the part, from 0.
        of: how many parts there are.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        """Raises ValueError for a part that is not there."""
        if self.of < 2 or not 0 <= self.number < self.of:
            raise ValueError("of is at least 2, and number is from 0 to below it")


def assign_fold(utterances: Iterable[Utterance], fold: Fold) -> list[Utterance]:
    """The utterances, split anew by speaker, whatever their splits were.

    Speakers are sorted by name. Number k of K tests on every K-th of them from the k-th (from 0)
    and tunes on every seventh of the rest, from the fourth. So each speaker is tested on in
    exactly one of the K, and it does not matter in which order the utterances come.

    Raises:
        InputError: there are too few speakers to test, to tune and to train on.
    """
    utterances = list(utterances)
    speakers = sorted({each.speaker for each in utterances})
    test = speakers[fold.number :: fold.of]
    rest = [name for name in speakers if name not in set(test)]
    if fold.of > len(speakers) or len(rest) < 2:
        raise InputError(
            f"{len(speakers)} speakers cannot be cut into {fold.of} folds with one to tune and one "
            f"to train on beside each; write at most {len(speakers)} folds, for 3 speakers or more"
        )
    dev = rest[min(_DEV_FIRST, len(rest) - 1) :: _DEV_STEP]
    split = dict.fromkeys(test, "test") | dict.fromkeys(dev, "dev")
    return [replace(each, split=split.get(each.speaker, "train")) for each in utterances]

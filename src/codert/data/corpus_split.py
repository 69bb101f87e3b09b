"""Who is held out by name, and whose texts are used; `folds.py` holds out by a rule."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from codert.data.manifest import Utterance
from codert.errors import InputError


def assign_splits(
    utterances: Iterable[Utterance], dev_speakers: Iterable[str], test_speakers: Iterable[str]
) -> list[Utterance]:
    """The utterances, with those of the named speakers moved to the splits `dev` and `test`.

    Raises:
        InputError: a speaker is unknown, or named for both.
    """
    utterances = list(utterances)
    known = {each.speaker for each in utterances}
    moved: dict[str, str] = {}
    for split, speakers in (("dev", dev_speakers), ("test", test_speakers)):
        for speaker in speakers:
            if speaker not in known:
                raise InputError(
                    f"{split}_speakers: no utterance is spoken by {speaker!r}; "
                    f"the corpus has {_some(sorted(known))}"
                )
            if moved.setdefault(speaker, split) != split:
                raise InputError(f"{speaker!r} is in dev_speakers and in test_speakers; choose one")
    return [replace(each, split=moved.get(each.speaker, each.split)) for each in utterances]


def keep_transcripts(utterances: Iterable[Utterance], share: float) -> list[Utterance]:
    """The utterances, with the texts of a share of the training speakers only.

    Of those that train and have texts, sorted by name, every 1/share-th keeps them, rounded down in
    all; of the others the text becomes empty. Where names are made of parts, as those of the
    commands' voices are, the sample can be one-sided. Who tunes and tests keeps theirs.

    Raises:
        InputError: the share is too small for one speaker.
    """
    utterances = list(utterances)
    train = sorted({each.speaker for each in utterances if each.split == "train" and each.text})
    # The sums are rounded, so that 0.29 of a hundred is 29.
    parts = [round(i * share, 9) // 1 for i in range(len(train) + 1)]
    silent = {name for i, name in enumerate(train) if parts[i] == parts[i + 1]}
    if train and len(silent) == len(train):
        raise InputError(
            f"data.transcribed: {share:g} of {len(train)} training speakers with texts is none; "
            f"write {1 / len(train):.3g} or more"
        )
    return [
        replace(each, text="") if each.split == "train" and each.speaker in silent else each
        for each in utterances
    ]


def _some(names: Sequence[str], shown: int = 8) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")

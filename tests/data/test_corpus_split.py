from dataclasses import replace
from pathlib import Path

import pytest

from codert.data.config import DataConfig
from codert.data.corpus_split import assign_splits, keep_transcripts
from codert.data.manifest import Utterance
from codert.errors import InputError

from .conftest import MakeUtterance


def test_named_speakers_move(make_utterance: MakeUtterance) -> None:
    utterances = [make_utterance() for _ in range(4)]
    moved = assign_splits(utterances, ["s1"], ["s2"])
    assert [each.split for each in moved] == ["train", "dev", "test", "train"]
    assert [each.id for each in moved] == [each.id for each in utterances]


def test_unknown_and_doubly_named_speakers(make_utterance: MakeUtterance) -> None:
    utterances = [make_utterance() for _ in range(2)]
    with pytest.raises(InputError, match=r"is spoken by 'x'; .* s0, s1"):
        assign_splits(utterances, ["x"], [])
    with pytest.raises(InputError, match="'s0' is in dev_speakers and in test_speakers"):
        assign_splits(utterances, ["s0"], ["s0"])


@pytest.mark.parametrize(("share", "kept"), [(1 / 3, 2), (0.5, 3), (0.2, 1), (0.9, 5)])
def test_a_share_of_the_training_speakers_keeps_its_texts(
    make_utterance: MakeUtterance, share: float, kept: int
) -> None:
    by_split = {"train": range(6), "dev": range(3), "test": range(3)}
    utterances = [
        replace(make_utterance(), speaker=f"{split}{number}", split=split)
        for split, numbers in by_split.items()
        for number in (*numbers, *numbers)
    ]
    left = keep_transcripts(reversed(utterances), share)
    assert [replace(each, text="") for each in left] == [
        replace(each, text="") for each in reversed(utterances)
    ]
    said = {
        name: {bool(u.text) for u in left if u.speaker == name}
        for name in {u.speaker for u in left}
    }
    assert all(len(each) == 1 for each in said.values())  # a speaker keeps all or none
    assert sum(said[f"train{number}"] == {True} for number in range(6)) == kept
    assert all(said[name] == {True} for name in said if not name.startswith("train"))


def test_the_speakers_that_keep_their_texts_are_spread_over_the_names() -> None:
    names = [f"speaker{number:02}" for number in range(12)]
    mute = Utterance("mute", Path("mute.wav"), "", "alan", "train", 1.0)
    utterances = [Utterance(name, Path("a.wav"), "A", name, "train", 1.0) for name in names]
    left = keep_transcripts([mute, *utterances], 0.25)
    assert [u.speaker for u in left if u.text] == ["speaker03", "speaker07", "speaker11"]
    config = DataConfig(transcribed=0.25)
    assert config.split([mute, *utterances]) == left
    with pytest.raises(InputError, match=r"0\.05 of 12 .* is none; write 0\.0833 or more"):
        keep_transcripts(utterances, 0.05)

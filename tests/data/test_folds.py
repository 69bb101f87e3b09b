"""Cross-validation over speakers."""

from pathlib import Path

import pytest

from codert.data.config import DataConfig
from codert.data.folds import Fold, assign_fold
from codert.data.manifest import Utterance
from codert.errors import InputError


def said_by(speakers: list[str]) -> list[Utterance]:
    return [Utterance(f"{s}-{i}", Path("x"), "A", s, "test", 1.0) for s in speakers for i in (0, 1)]


SPEAKERS = [f"s{i:02}" for i in range(23)]


def test_each_speaker_is_tested_on_once() -> None:
    folds = [assign_fold(said_by(SPEAKERS), Fold(k, 5)) for k in range(5)]
    tested = [u.id for fold in folds for u in fold if u.split == "test"]
    assert sorted(tested) == [u.id for u in said_by(SPEAKERS)]


def test_the_rule() -> None:
    split = {u.speaker: u.split for u in assign_fold(said_by(SPEAKERS), Fold(1, 5))}
    assert [s for s in split if split[s] == "test"] == ["s01", "s06", "s11", "s16", "s21"]
    # Of s00 s02 s03 s04 s05 s07 ... the fourth, and every seventh from there.
    assert [s for s in split if split[s] == "dev"] == ["s04", "s13", "s22"]
    assert set(split.values()) == {"train", "dev", "test"}


def test_a_speaker_is_in_one_split_and_order_does_not_matter() -> None:
    for k in range(3):
        split = assign_fold(said_by(["c", "a", "b"]), Fold(k, 3))
        assert len({(u.speaker, u.split) for u in split}) == 3
        assert {u.speaker: u.split for u in split} == {
            u.speaker: u.split for u in assign_fold(said_by(["a", "b", "c"]), Fold(k, 3))
        }


def test_a_fold_takes_the_place_of_named_speakers() -> None:
    config = DataConfig(test_speakers=("s00",), fold=Fold(1, 5))
    assert config.split(said_by(SPEAKERS)) == assign_fold(said_by(SPEAKERS), Fold(1, 5))


@pytest.mark.parametrize(("speakers", "folds"), [(4, 5), (2, 2), (1, 2)])
def test_too_few_speakers_are_refused(speakers: int, folds: int) -> None:
    with pytest.raises(InputError, match=f"{speakers} speakers cannot be cut into {folds} folds"):
        assign_fold(said_by(SPEAKERS[:speakers]), Fold(0, folds))


@pytest.mark.parametrize(("number", "of"), [(0, 1), (5, 5), (-1, 5)])
def test_a_fold_that_is_not_there_is_refused(number: int, of: int) -> None:
    with pytest.raises(ValueError, match="number is from 0"):
        Fold(number, of)

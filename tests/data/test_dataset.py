import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from codert.data.audio import read_audio
from codert.data.augmentation import Noise, SpecAugment
from codert.data.batches import Batch
from codert.data.config import DataConfig
from codert.data.dataset import Dataset
from codert.data.features import FeatureConfig
from codert.data.manifest import Utterance
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.errors import InputError

from .conftest import MakeUtterance

FEATURES = FeatureConfig(mels=20)
SMALL = DataConfig(batch_seconds=2.0)
NOISY = replace(SMALL, noise=Noise(5, 20))
EVERYTHING = replace(
    SMALL, speeds=(0.9, 1.0, 1.1), noise=Noise(5, 20), spec_augment=SpecAugment(1, 5, 1, 3)
)

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def corpus(make_utterance: MakeUtterance) -> list[Utterance]:
    return [make_utterance(0.2 + 0.05 * n) for n in range(12)]


@pytest.fixture
def make_dataset(tmp_path: Path, pieces: WordPieces) -> MakeDataset:
    def make(
        utterances: Sequence[Utterance],
        config: DataConfig = SMALL,
        training: bool = True,
        seed: int = 0,
    ) -> Dataset:
        cache = tmp_path / "cache"
        return Dataset(utterances, pieces, FEATURES, config, cache, training=training, seed=seed)

    return make


def assert_same(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    assert [batch.ids for batch in first] == [batch.ids for batch in second]
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.features, other.features, rtol=0, atol=0)
        assert torch.equal(one.frame_lengths, other.frame_lengths)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.label_lengths, other.label_lengths)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, cache=False), EVERYTHING])
@pytest.mark.parametrize("training", [True, False])
def test_an_epoch_holds_each_utterance_once(
    corpus: list[Utterance], make_dataset: MakeDataset, config: DataConfig, training: bool
) -> None:
    dataset = make_dataset(corpus, config, training)
    for epoch in (0, 1):
        batches = list(dataset.batches(epoch))
        assert sorted(id for batch in batches for id in batch.ids) == sorted(dataset.utterances)
        assert len(batches) == dataset.batches_in(epoch) > 1
        assert all(batch.features[..., 0].numel() <= 200 for batch in batches)


def test_a_batch_is_padded_with_zeros(
    corpus: list[Utterance], make_dataset: MakeDataset, pieces: WordPieces
) -> None:
    for batch in make_dataset(corpus).batches(0):
        assert batch.features.shape[0] == batch.labels.shape[0] == len(batch.ids)
        assert batch.features.dtype == torch.float32
        assert batch.features.shape[1:] == (int(batch.frame_lengths.max()), 20)
        assert batch.labels.dtype == batch.frame_lengths.dtype == torch.int64
        for row, id in enumerate(batch.ids):
            text = next(each.text for each in corpus if each.id == id)
            assert batch.labels[row, : batch.label_lengths[row]].tolist() == pieces.encode(text)
            assert not batch.labels[row, batch.label_lengths[row] :].any()
            assert not batch.features[row, batch.frame_lengths[row] :].any()


@pytest.mark.parametrize("config", [SMALL, EVERYTHING])
def test_a_run_goes_on_where_it_stopped(
    corpus: list[Utterance], make_dataset: MakeDataset, config: DataConfig
) -> None:
    whole = list(make_dataset(corpus, config).batches(3))
    assert_same(whole[2:], list(make_dataset(corpus, config).batches(3, start=2)))
    assert list(make_dataset(corpus, config).batches(3, start=len(whole))) == []


def test_epochs_and_seeds_differ(corpus: list[Utterance], make_dataset: MakeDataset) -> None:
    dataset = make_dataset(corpus)
    orders = [[batch.ids for batch in dataset.batches(epoch)] for epoch in (0, 1)]
    orders.append([batch.ids for batch in make_dataset(corpus, seed=1).batches(0)])
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_evaluation_goes_from_short_to_long(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    lengths = torch.cat([b.frame_lengths for b in make_dataset(corpus, SMALL, False).batches(0)])
    assert lengths.tolist() == sorted(lengths.tolist())


def test_what_is_drawn_does_not_depend_on_the_neighbours(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    def heard(utterances: Sequence[Utterance]) -> dict[str, torch.Tensor]:
        dataset = make_dataset(utterances, EVERYTHING)
        return {
            id: batch.features[row, : batch.frame_lengths[row]]
            for batch in dataset.batches(1)
            for row, id in enumerate(batch.ids)
        }

    everyone, few = heard(corpus), heard(corpus[::-3])
    for id in few:
        assert torch.equal(few[id], everyone[id])


def test_speeds_are_drawn_anew_in_each_epoch(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(corpus, replace(SMALL, speeds=(0.8, 1.0, 1.25)))
    seen = {
        int(batch.frame_lengths[batch.ids.index("u4")])
        for epoch in range(20)
        for batch in dataset.batches(epoch)
        if "u4" in batch.ids
    }
    assert seen == {50, 40, 32}


def test_augmentation_is_for_training_alone(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    plain = list(make_dataset(corpus, SMALL, training=False).batches(0))
    assert_same(plain, list(make_dataset(corpus, EVERYTHING, training=False).batches(0)))


def test_without_a_cache_nothing_is_written(
    corpus: list[Utterance], make_dataset: MakeDataset, tmp_path: Path
) -> None:
    cached = list(make_dataset(corpus, SMALL, False).batches(0))
    before = sorted(tmp_path.rglob("*"))
    direct = list(make_dataset(corpus, replace(SMALL, cache=False), False).batches(0))
    assert sorted(tmp_path.rglob("*")) == before
    for one, other in zip(cached, direct, strict=True):
        assert one.ids == other.ids
        torch.testing.assert_close(one.features, other.features, rtol=1e-3, atol=1e-3)


def test_bad_utterances_are_left_out_and_told(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    good, broken, long, mute, foreign, empty = (
        make_utterance(),
        make_utterance(),
        make_utterance(1.5),
        make_utterance(text="?!"),
        make_utterance(text="ZOO"),
        make_utterance(0.0),
    )
    broken.audio.write_bytes(b"RIFF broken")
    utterances = [good, broken, long, mute, foreign, empty]
    dataset = make_dataset(utterances, replace(SMALL, max_seconds=1.0))
    assert list(dataset.utterances) == list(dataset.texts) == ["u0"]
    assert len(dataset) == 1
    reasons = {each.id: each.reason for each in dataset.skipped}
    assert list(reasons) == ["u1", "u2", "u3", "u4", "u5"]
    assert "u1.wav: not readable as audio" in reasons["u1"]
    assert reasons["u2"] == "1.5 s of audio; max_seconds is 1"
    assert reasons["u3"].startswith("no text; with data.untranscribed: true")
    assert reasons["u4"] == "no word-piece covers 'Z'"
    assert "holds no samples" in reasons["u5"]
    assert [batch.ids for batch in dataset.batches(0)] == [["u0"]]
    scored = make_dataset(utterances, replace(SMALL, max_seconds=1.0), training=False)
    assert scored.texts == {"u0": "SEVEN DOGS", "u4": "ZOO"}


def test_what_has_no_transcript_cannot_be_scored(
    make_dataset: MakeDataset, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance(), make_utterance(text="")]
    dataset = make_dataset(utterances, replace(SMALL, untranscribed=True), training=False)
    assert list(dataset.utterances) == ["u0"]
    assert [each.reason for each in dataset.skipped] == ["no text"]


def test_what_is_longer_than_its_manifest_says_is_left_out_when_it_is_read(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    good, long = make_utterance(), replace(make_utterance(1.5), seconds=0.2)
    dataset = make_dataset([good, long], replace(SMALL, max_seconds=1.0, cache=False))
    assert [batch.ids for batch in dataset.batches(0)] == [["u0"]]
    reasons = {each.id: each.reason for each in dataset.skipped}
    assert reasons == {"u1": "1.5 s of audio; max_seconds is 1"}


@pytest.mark.parametrize("speeds", [(1.0,), (0.9, 1.1), (0.8,), (1.25,), (2.0, 0.5)])
def test_what_the_cache_finds_too_long_is_left_out_at_any_speed(
    speeds: tuple[float, ...], make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    seconds = [1.0, 1.0, 0.87, 1.04, 5.0]
    utterances = [make_utterance(seconds[0])]
    utterances += [replace(make_utterance(each), seconds=0.2) for each in seconds[1:]]
    dataset = make_dataset(utterances, replace(SMALL, max_seconds=1.0, speeds=speeds))
    # What is as long as it may be is not lost to a rounding of its frames.
    assert list(dataset.utterances) == ["u0", "u1", "u2"]
    assert [each.id for each in dataset.skipped] == ["u3", "u4"]
    assert re.fullmatch(r"[45]\.\d s of audio; max_seconds is 1", dataset.skipped[1].reason)


def test_what_is_known_to_be_too_long_is_not_read(
    make_utterance: MakeUtterance, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = [make_utterance(), make_utterance(1.5)]
    read = Mock(wraps=read_audio)
    monkeypatch.setattr("codert.data.feature_cache.read_audio", read)
    dataset = make_dataset(utterances, replace(SMALL, max_seconds=1.0))
    assert [each.id for each in dataset.skipped] == ["u1"]
    assert [call.args[0] for call in read.call_args_list] == [utterances[0].audio]


def test_what_would_spoil_the_size_of_batches_is_left_out(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    seconds = [0.5, 0.26, 0.24, 0.0]
    utterances = [replace(make_utterance(0.5), seconds=each) for each in seconds]
    dataset = make_dataset(utterances, replace(SMALL, cache=False))
    assert sorted(id for batch in dataset.batches(0) for id in batch.ids) == ["u0", "u1"]
    reasons = {each.id: each.reason for each in dataset.skipped}
    assert sorted(reasons) == ["u2", "u3"]
    assert re.search(r"u2\.wav: 0\.5 s of audio, .* for 0\.24 s; mend its", reasons["u2"])
    # All are scored, whatever a manifest says.
    scored = make_dataset(utterances, replace(SMALL, cache=False), training=False)
    assert sorted(id for batch in scored.batches(0) for id in batch.ids) == ["u0", "u1", "u2", "u3"]


def test_a_name_that_no_file_can_have_is_left_out(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    long = replace(make_utterance(), audio=Path("a" * 300))
    dataset = make_dataset([make_utterance(), long], replace(SMALL, cache=False))
    assert [each.id for each in dataset.skipped] == ["u0"]


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_not_there_is_told_before_anything_is_trained(
    cache: bool, make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    gone = replace(make_utterance(), audio=Path("nowhere.wav"))
    with pytest.raises(InputError, match=r"of split train can be used; .*nowhere\.wav: no such"):
        make_dataset([gone], replace(SMALL, cache=cache))


def test_where_nothing_can_be_read_the_mean_names_a_file(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    broken = make_utterance()
    broken.audio.write_bytes(b"RIFF broken")
    dataset = make_dataset([broken], replace(SMALL, cache=False))
    with pytest.raises(InputError, match=r"none of 1 .*u0\.wav: not readable"):
        dataset.mean_and_deviation()


def test_a_cache_that_cannot_be_written_is_told_how_to_do_without(
    make_utterance: MakeUtterance, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    pieces, features = WordPieces.train(["SEVEN DOGS"], WordPieceConfig(size=10)), FeatureConfig()
    utterances = [make_utterance()]
    with pytest.raises(InputError, match=r"file: cannot be written.*; data\.cache: false comp"):
        Dataset(utterances, pieces, features, SMALL, tmp_path / "file", training=True)


def test_texts_of_another_script_are_told_how_to_get_word_pieces(
    make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    with pytest.raises(InputError, match=r"covers 'Ö'; to train .* have wordpieces\.size and"):
        make_dataset([make_utterance(text="ÖL")], SMALL)


def test_utterances_without_a_text_come_in_batches_of_their_own(
    corpus: list[Utterance], make_utterance: MakeUtterance, make_dataset: MakeDataset
) -> None:
    silent = [make_utterance(0.2 + 0.05 * n, text="?!") for n in range(7)]
    dataset = make_dataset([*corpus, *silent], replace(SMALL, untranscribed=True))
    assert not dataset.skipped
    for epoch in range(3):
        kinds = {True: [], False: []}  # type: dict[bool, list[str]]
        for batch in dataset.batches(epoch):
            assert (batch.label_lengths > 0).tolist() == [batch.transcribed] * len(batch.ids)
            kinds[batch.transcribed] += batch.ids
        assert sorted(kinds[True]) == sorted(each.id for each in corpus)
        assert sorted(kinds[False]) == sorted(each.id for each in silent)


def test_where_all_have_a_text_untranscribed_changes_nothing(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    assert_same(
        list(make_dataset(corpus, SMALL).batches(1)),
        list(make_dataset(corpus, replace(SMALL, untranscribed=True)).batches(1)),
    )


def test_audio_found_broken_on_the_fly_is_left_out(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(corpus, NOISY)
    corpus[3].audio.write_bytes(b"RIFF broken")
    for epoch in (0, 1):
        ids = [id for batch in dataset.batches(epoch) for id in batch.ids]
        assert sorted(ids) == sorted(each.id for each in corpus if each.id != "u3")
    [skipped] = dataset.skipped
    assert skipped.id == "u3"
    assert "not readable as audio" in skipped.reason


def test_nothing_left(make_utterance: MakeUtterance, make_dataset: MakeDataset) -> None:
    with pytest.raises(
        InputError, match="none of 1 utterances of split train can be used; the last: no text"
    ):
        make_dataset([make_utterance(text="")])
    with pytest.raises(InputError, match="none of 0 utterances"):
        make_dataset([])


def test_texts_are_normalised(make_utterance: MakeUtterance, make_dataset: MakeDataset) -> None:
    dataset = make_dataset([make_utterance(text="seven, dogs!")])
    assert dataset.texts == {"u0": "SEVEN DOGS"}


def test_mean_and_deviation_normalise(corpus: list[Utterance], make_dataset: MakeDataset) -> None:
    for config in (SMALL, replace(SMALL, cache=False)):
        dataset = make_dataset(corpus, config)
        mean, deviation = dataset.mean_and_deviation()
        frames = torch.cat(
            [
                batch.features[row, : batch.frame_lengths[row]]
                for batch in dataset.batches(0)
                for row in range(len(batch.ids))
            ]
        )
        normal = (frames - mean) / deviation
        torch.testing.assert_close(normal.mean(0), torch.zeros(20), atol=1e-2, rtol=0)
        torch.testing.assert_close(normal.std(0), torch.ones(20), atol=1e-2, rtol=0)


def test_stopping_early_leaves_no_thread(
    corpus: list[Utterance], make_dataset: MakeDataset
) -> None:
    dataset, before = make_dataset(corpus, NOISY), set(threading.enumerate())
    batches = dataset.batches(0)
    next(batches)
    assert not before.issuperset(threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert before.issuperset(threading.enumerate())

"""The whole analysis on untrained recognisers of a tiny corpus."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codert.analysis import analysis as module
from codert.analysis.analysis import Analysed, Analysis, analyse
from codert.config import build, plain
from codert.data.features import FeatureConfig
from codert.data.manifest import Utterance, read_manifest
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.errors import InputError
from codert.models import Recogniser, RecogniserConfig
from codert.models.encoder import LSTMEncoderConfig
from codert.models.folder import WORDPIECES, Card, save_recogniser
from codert.models.predictor import StatelessPredictorConfig

CPU = torch.device("cpu")


def untrained(
    folder: Path,
    texts: list[str],
    seed: int,
    pieces: int = 9,
    stride: int = 2,
    lookahead: int = 0,
) -> Path:
    torch.manual_seed(seed)
    wordpieces = WordPieces.train(texts, WordPieceConfig(size=pieces))
    config = RecogniserConfig(
        LSTMEncoderConfig(channels=8, strides=(2, stride), layers=1, width=8, lookahead=lookahead),
        StatelessPredictorConfig(width=8),
    )
    features = FeatureConfig(mels=20)
    recogniser = Recogniser.build(config, features.mels, len(wordpieces))
    card = Card(config, len(wordpieces), plain(features), "student", "alone", "nothing")
    save_recogniser(folder, recogniser, card)
    wordpieces.save(folder / WORDPIECES)
    return folder


@pytest.fixture(scope="module")
def texts(corpus: Path) -> list[str]:
    return [u.text for u in read_manifest(corpus)]


@pytest.fixture(scope="module")
def utterances(corpus: Path) -> list[Utterance]:
    test = [u for u in read_manifest(corpus) if u.split == "test"]
    missing = replace(test[0], id="missing", audio=corpus.parent / "missing.wav")
    return [
        *test,
        missing,
        replace(test[0], id="silent", text=""),
        replace(test[0], id="9", text="9"),
    ]


@pytest.fixture(scope="module")
def analysed(
    texts: list[str],
    utterances: list[Utterance],
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Analysed]:
    runs = tmp_path_factory.mktemp("runs")
    folders = [
        untrained(runs / "first", texts, 0),
        untrained(runs / "second", texts, 1),
        untrained(runs / "faster", texts, 2, stride=1),
        untrained(runs / "other", texts, 3, pieces=8),
    ]
    return analyse(folders, utterances, cache, CPU, traced=["test-34"])


def test_bad_utterances_are_named_and_end_nothing(analysed: list[Analysed]) -> None:
    for each in analysed:
        reasons = {skipped.id: skipped.reason for skipped in each.analysis.skipped}
        assert reasons.keys() == {"missing", "silent", "9"}
        assert reasons["silent"] == "no text"
        assert "'9'" in reasons["9"]
        assert each.analysis.utterances == 6


def test_json_has_the_documented_keys_and_comes_back(analysed: list[Analysed]) -> None:
    for each in analysed:
        text = json.dumps(plain(each.analysis), allow_nan=False)
        assert "phones" in text
        doc = Analysis.__doc__ or ""
        for key in json.loads(text):
            assert f"        {key}: " in doc
        assert plain(build(Analysis, json.loads(text), "here")) == plain(each.analysis)


def test_the_joint_is_the_same_in_both_gauges(analysed: list[Analysed]) -> None:
    trained, centred = analysed[0].analysis.as_trained, analysed[0].analysis.centred
    assert trained.entropy.joint.all.mean == pytest.approx(centred.entropy.joint.all.mean)
    assert trained.entropy.decoder.all.mean != centred.entropy.decoder.all.mean


def test_only_equal_word_pieces_are_compared(analysed: list[Analysed]) -> None:
    first, second, faster, other = (each.analysis for each in analysed)
    assert first.agreement is None
    assert other.agreement is None
    assert any("other word-pieces" in note for note in other.notes)
    for each in (second, faster):
        assert each.agreement is not None
        assert each.agreement.labels == first.labels
        assert each.agreement.joint.kl > 0
    assert faster.frame_ms == first.frame_ms / 2


def test_a_recogniser_agrees_with_itself(
    texts: list[str], utterances: list[Utterance], cache: Path, tmp_path: Path
) -> None:
    run = untrained(tmp_path / "same", texts, 0)
    twin = untrained(tmp_path / "twin", texts, 0)
    _, second = analyse([run, twin], utterances, cache, CPU)
    found = second.analysis.agreement
    assert found is not None
    assert found.as_trained.top == found.joint.top == 100
    assert found.joint.kl == pytest.approx(0, abs=1e-6)
    assert set(found.delay_ms.quantiles) == {0.0}


def test_what_an_encoder_looks_ahead_counts_as_delay(
    texts: list[str], utterances: list[Utterance], cache: Path, tmp_path: Path
) -> None:
    """It begins as the identity, so the second says the same, two frames of 40 ms later."""
    runs = [untrained(tmp_path / str(n), texts, seed=0, lookahead=n) for n in (0, 2)]
    found = analyse(runs, utterances[:3], cache, CPU)[1].analysis.agreement
    assert found is not None
    assert found.delay_ms.mean == pytest.approx(80)
    assert found.joint.top == 100


def test_traces_are_of_the_utterances_asked_for(analysed: list[Analysed]) -> None:
    for each in analysed:
        (trace,) = each.traces
        assert trace.id == "test-34"
        assert len(trace.pieces) == len(trace.entropies.emitted)
        ratio = len(trace.features) / len(trace.entropies.encoder)
        assert ratio == pytest.approx(trace.frame_seconds / trace.feature_seconds, rel=0.1)


def test_without_espeak_all_else_is_measured(
    texts: list[str],
    utterances: list[Utterance],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> None:
        raise InputError("espeak-ng is not installed; run: pip install 'codert[commands]'")

    monkeypatch.setattr(module, "pronunciations", missing)
    (found,) = analyse([untrained(tmp_path / "run", texts, 0)], utterances, cache, CPU)
    assert found.analysis.as_trained.similarity is None
    assert any("codert[commands]" in note for note in found.analysis.notes)
    assert [c.held is None for c in found.analysis.claims] == [False, False, True] * 2


def test_no_usable_text_is_refused(
    texts: list[str], utterances: list[Utterance], cache: Path, tmp_path: Path
) -> None:
    run = untrained(tmp_path / "run", texts, 0)
    with pytest.raises(InputError, match="none of 1 texts can be used; the first: no text"):
        analyse([run], [u for u in utterances if not u.text], cache, CPU)

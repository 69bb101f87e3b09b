"""What is written down of each utterance of a data set."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codert.data.config import DataConfig
from codert.data.dataset import Dataset
from codert.data.manifest import read_manifest
from codert.decoding.transcriber import Transcriber
from codert.errors import InputError
from codert.evaluation.recognition import Recognition, recognise

from .tiny import scribe

ENDLESS = {"": {"A": 1.0}, "A": {"A": 1.0}}


@pytest.fixture
def recognised(corpus: Path, tmp_path: Path) -> Recognition:
    """Of utterances of 0.48 and 0.84 s in two batches, the longer one in both."""
    by_length = {len(each.text): each for each in read_manifest(corpus)}
    short, long = by_length[2], by_length[5]
    utterances = [replace(long, id="long"), replace(short, id="short"), replace(long, id="again")]
    said = Transcriber.load(scribe(tmp_path / "run", ENDLESS))
    pieces, config = said.wordpieces, DataConfig(batch_seconds=2.0, cache=False)
    dataset = Dataset(utterances, pieces, said.features, config, tmp_path, training=False)
    assert len(list(dataset.batches(0))) == 2
    return recognise(said.recogniser, dataset, pieces, torch.device("cpu"))


def test_each_utterance_has_its_own_transcript(recognised: Recognition) -> None:
    """Ten letters, the most there are, at each of its frames of 40 ms."""
    written = {each.id: each.hypothesis for each in recognised.transducer}
    assert written == {"short": 120 * "A", "long": 210 * "A", "again": 210 * "A"}


def test_of_ctc_repeats_are_one_letter(recognised: Recognition) -> None:
    written = {each.id: each.hypothesis for each in recognised.ctc}
    assert written == dict.fromkeys(("short", "long", "again"), "E")


def test_where_nothing_can_be_read_a_file_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF broken")
    broken = replace(read_manifest(corpus)[0], audio=tmp_path / "broken.wav")
    said = Transcriber.load(scribe(tmp_path / "run", ENDLESS))
    pieces, config = said.wordpieces, DataConfig(cache=False)
    dataset = Dataset([broken], pieces, said.features, config, tmp_path, training=False)
    with pytest.raises(InputError, match=r"^none of 1 utterances .*broken\.wav: not readable"):
        recognise(said.recogniser, dataset, pieces, torch.device("cpu"))

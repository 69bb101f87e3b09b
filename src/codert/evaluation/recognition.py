"""Decoding a whole data set and scoring it."""

from typing import NamedTuple

import torch

from codert.data.dataset import Dataset
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.decoding import ctc_greedy, decode
from codert.evaluation.scoring import UtteranceScore, score
from codert.models.recogniser import Recogniser


class Recognition(NamedTuple):
    """Scores per utterance, of the transducer and, decoded greedily, of the CTC logits."""

    transducer: list[UtteranceScore]
    ctc: list[UtteranceScore]


@torch.no_grad()
def recognise(
    recogniser: Recogniser,
    dataset: Dataset,
    wordpieces: WordPieces,
    device: torch.device,
    beam: int = 1,
) -> Recognition:
    """Decode every utterance of a data set; the recogniser is in inference mode, on `device`.

    Raises:
        InputError: none of them can be read.
    """
    result = Recognition([], [])
    for batch in dataset.batches(0):
        on_device = batch.to(device)
        encoded = recogniser.encode(on_device.features, on_device.frame_lengths)
        decoded = (decode(recogniser, encoded, beam), ctc_greedy(encoded))
        for scores, hypotheses in zip(result, decoded, strict=True):
            for name, labels in zip(batch.ids, hypotheses, strict=True):
                utterance = dataset.utterances[name]
                hypothesis = normalise(wordpieces.decode(labels))
                scores.append(score(name, utterance.speaker, dataset.texts[name], hypothesis))
    if not result.transducer:
        raise dataset.none_left()
    return result

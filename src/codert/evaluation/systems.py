"""Trained recognisers side by side on the same utterances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from codert.config import build, read_yaml
from codert.data.dataset import DataConfig, Dataset, Skipped
from codert.data.manifest import Utterance, assign_splits, read_manifest
from codert.decoding.transcriber import Transcriber
from codert.errors import InputError
from codert.evaluation.recognition import recognise
from codert.evaluation.scoring import UtteranceScore
from codert.models.folder import Card


@dataclass(frozen=True)
class System:
    """A recogniser that has been scored.

    Attributes:
        folder: its folder.
        card: what there is to know about it.
        encoder_params: weights of its encoder.
        total_params: weights that a device needs.
        scores: of each utterance, in the order of ids.
        skipped: utterances that could not be scored.
    """

    folder: Path
    card: Card
    encoder_params: int
    total_params: int
    scores: list[UtteranceScore]
    skipped: list[Skipped]


def score_system(
    folder: Path, utterances: Sequence[Utterance], cache: Path, device: torch.device
) -> System:
    """Decode and score utterances with the recogniser in `folder`.

    Raises:
        InputError: the folder is not a recogniser's, or no utterance can be used.
    """
    transcriber = Transcriber.load(folder)
    dataset = Dataset(
        utterances, transcriber.wordpieces, transcriber.features, DataConfig(), cache,
        training=False,
    )  # fmt: skip
    recogniser = transcriber.recogniser.to(device)
    scores = recognise(recogniser, dataset, transcriber.wordpieces, device).transducer
    return System(
        folder,
        transcriber.card,
        recogniser.encoder_params,
        recogniser.total_params,
        sorted(scores, key=lambda each: each.id),
        dataset.skipped,
    )


def utterances_of(manifests: Sequence[Path], split: str, settings: Path | None) -> list[Utterance]:
    """The utterances of a split of several manifests.

    Args:
        manifests: joined.
        split: as the manifests mark it, or as `settings` does.
        settings: a YAML file whose `data` section may name dev and test speakers.

    Raises:
        InputError: a manifest or the settings are wrong, or the split is empty.
    """
    named = read_yaml(settings).get("data", {}) if settings else {}
    held_out = build(DataConfig, named, str(settings), "data")
    everything = [u for manifest in manifests for u in read_manifest(manifest)]
    everything = assign_splits(everything, held_out.dev_speakers, held_out.test_speakers)
    chosen = [u for u in everything if u.split == split]
    if not chosen:
        known = ", ".join(sorted({u.split for u in everything}))
        raise InputError(
            f"{manifests[0]}: no utterance of split {split} (there are: {known}); choose another, "
            "or name the speakers to hold out in a file for --settings"
        )
    return chosen

"""Trained recognisers side by side on the same utterances."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from codert.config import build, merged, read_yaml
from codert.data.config import DataConfig
from codert.data.dataset import Dataset
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
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
    folder: Path,
    utterances: Sequence[Utterance],
    cache: Path,
    device: torch.device,
    beam: int = 1,
    config: DataConfig = DataConfig(),  # noqa: B008 (frozen)
) -> System:
    """Decode utterances with the recogniser in `folder`, by a beam of some width, and score.

    Args:
        folder: of the recogniser.
        utterances: of any length.
        cache: where features are kept, if `config` says so.
        device: to decode on.
        beam: its width; 1 is greedy.
        config: how they are put together.

    Raises:
        InputError: the folder is not a recogniser's, or no utterance can be used.
    """
    transcriber = Transcriber.load(folder)
    pieces, features = transcriber.wordpieces, transcriber.features
    # However long they are: a rate over some of them would be another one.
    config = replace(config, max_seconds=math.inf)
    dataset = Dataset(utterances, pieces, features, config, cache, training=False)
    recogniser = transcriber.recogniser.to(device)
    scores = recognise(recogniser, dataset, pieces, device, beam).transducer
    return System(
        folder,
        transcriber.card,
        recogniser.encoder_params,
        recogniser.total_params,
        sorted(scores, key=lambda each: each.id),
        dataset.skipped,
    )


def held_out_by(settings: Path | None, over: Mapping[str, Any] | None = None) -> DataConfig:
    """The `data` section of a YAML file; without a file, what the manifests mark is held out.

    Args:
        settings: the file.
        over: keys laid over it, as `{"data": {"test_speakers": [...]}}`.

    Raises:
        InputError: the file or the section is wrong.
    """
    keys = merged(read_yaml(settings) if settings else {}, over or {})
    return build(DataConfig, keys.get("data", {}), str(settings or "--set"), "data")


def utterances_of(manifests: Sequence[Path], split: str, held_out: DataConfig) -> list[Utterance]:
    """The utterances of a split of several manifests.

    Args:
        manifests: joined.
        split: as the manifests mark it, or as `held_out` does.
        held_out: may name dev and test speakers, or a fold.

    Raises:
        InputError: a manifest or a speaker is wrong, or the split is empty.
    """
    return of_split(held_out.read(manifests), split, manifests[0])


def of_split(everything: Sequence[Utterance], split: str, where: Path) -> list[Utterance]:
    """Those of a split; raises InputError, which names the manifest `where`, if there are none."""
    chosen = [u for u in everything if u.split == split]
    if not chosen:
        known = ", ".join(sorted({u.split for u in everything}))
        raise InputError(
            f"{where}: no utterance of split {split} (there are: {known}); choose another, "
            "or hold out speakers or a fold, by a file for --settings or --set data.KEY=VALUE"
        )
    return chosen

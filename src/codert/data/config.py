"""The settings under `data`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codert.data.augmentation import Noise, SpecAugment
from codert.data.corpus_split import assign_splits, keep_transcripts
from codert.data.folds import Fold, assign_fold
from codert.data.manifest import Utterance, joined, read_manifest


@dataclass(frozen=True)
class DataConfig:
    """What is held out, left out, augmented and put together.

    Args:
        dev_speakers: speakers that move to the split `dev`.
        test_speakers: speakers that move to the split `test`.
        fold: splits by a rule, in place of the manifest's and of the speakers named above.
        max_seconds: longer utterances are skipped.
        untranscribed: whether a training takes utterances without a text too, for edges to teach
            from; in batches of their own.
        transcribed: share of the training speakers whose texts are used, to see what texts are
            worth; others have none.
        speeds: factors of which one is drawn for each utterance and epoch of a training.
        noise: noise on the samples of a training; features are then computed on the fly.
        spec_augment: masks on the features of a training.
        batch_seconds: the most audio in a batch, padding included.
        cache: whether features are computed once and kept on disk.
    """

    dev_speakers: tuple[str, ...] = ()
    test_speakers: tuple[str, ...] = ()
    fold: Fold | None = None
    max_seconds: float = 30.0
    untranscribed: bool = False
    transcribed: float = 1.0
    speeds: tuple[float, ...] = (1.0,)
    noise: Noise | None = None
    spec_augment: SpecAugment | None = None
    batch_seconds: float = 100.0
    cache: bool = True

    def __post_init__(self) -> None:
        """Refuse values that no batch can be made with."""
        if not self.speeds or min(self.speeds) <= 0:
            raise ValueError("speeds must be one factor or more, each above 0")
        if self.max_seconds <= 0 or self.batch_seconds <= 0:
            raise ValueError("max_seconds and batch_seconds must be above 0")
        if not 0 < self.transcribed <= 1:
            raise ValueError("transcribed is a share, above 0 and at most 1")

    def read(self, manifests: Iterable[Path]) -> list[Utterance]:
        """The utterances of all manifests, in the splits and with the texts that this says.

        Raises:
            InputError: a manifest is wrong, or as for `split`.
        """
        return self.split(u for manifest in manifests for u in read_manifest(manifest))

    def split(self, utterances: Iterable[Utterance]) -> list[Utterance]:
        """The utterances of all manifests, in the splits and with the texts that this says.

        Raises:
            InputError: two have the same id, a speaker is unknown or named twice, or the
                speakers are too few to fold, or to keep that share of.
        """
        utterances = joined(utterances)
        if self.fold is not None:
            utterances = assign_fold(utterances, self.fold)
        else:
            utterances = assign_splits(utterances, self.dev_speakers, self.test_speakers)
        return keep_transcripts(utterances, self.transcribed)

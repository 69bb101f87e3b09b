"""A run: a plan is trained on its data, in a folder of its own (`run_folder`)."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from codert.config import plain
from codert.data.dataset import Dataset
from codert.data.description import description
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.errors import InputError, PlanError
from codert.files import write_text
from codert.learning.commit import commit, note_commit
from codert.learning.compatibility import check_decoders
from codert.learning.ensemble import Ensemble
from codert.learning.heard import heard_as, heard_by
from codert.learning.plan import Plan
from codert.learning.run_folder import CURVES, HEARD, PLAN, SKIPPED, TAKEN, check_free, digests_of
from codert.learning.start import check_wordpieces, start
from codert.learning.teacher_cache import TeacherCache
from codert.learning.trainer import Trainer
from codert.models.folder import CONFIG, WORDPIECES, Card, load_card, save_recogniser


@dataclass(frozen=True)
class Outcome:
    """What a person wants to know at the end.

    Attributes:
        recognisers: folders of those that it made.
        best: their lowest development WER in percent; empty without a development split.
        skipped: utterances left out.
        too_short_for_ctc: how many had the transducer loss alone.
    """

    recognisers: dict[str, Path]
    best: dict[str, float]
    skipped: list[Skipped]
    too_short_for_ctc: int


class Prepared(NamedTuple):
    """All that the first update of a plan needs; there may be no development split."""

    ensemble: Ensemble
    training: Dataset
    development: Dataset | None
    wordpieces: WordPieces


def train(
    plan: Plan,
    manifests: Sequence[Path],
    folder: Path,
    cache: Path,
    device: torch.device,
    resume: bool = False,
) -> Outcome:
    """Train a plan on manifests.

    Args:
        plan: what to train.
        manifests: joined into one corpus.
        folder: of the run.
        cache: where features are kept, shared by all runs.
        device: to train on.
        resume: go on from the folder's checkpoint.

    Raises:
        InputError: bad data, or a folder that holds another run.
        Stopped: the run was asked to stop; resume it later.
    """
    check_free(folder, plan, resume)
    # A checkpoint has what became of what the recognisers began with.
    check_finished(plan, starts=not resume)
    ensemble, training, development, wordpieces = prepared(plan, manifests, cache, device)
    folders = {name: folder / name for name in ensemble.made}
    understands = plan.understands or description(manifests)

    def save_best(name: str, updates: int) -> None:
        card = Card(
            model=plan.made[name],
            symbols=len(wordpieces),
            features=plain(plan.features),
            role=plan.recognisers[name].role,
            strategy=plan.strategy,
            understands=understands,
            ctc_weight=plan.training.ctc_weight,
            updates=updates,
        )
        save_recogniser(folders[name], ensemble.made[name], card)
        wordpieces.save(folders[name] / WORDPIECES)

    trainer = Trainer(plan, ensemble, training, development, wordpieces, folder, save_best, device)
    if resume:
        trainer.resume()
    else:
        start(plan, ensemble, wordpieces)
        ensemble.follow(updates=0)
    # From here on the folder is changed; all that is refused has been.
    if not resume:  # of a run that was killed before its first checkpoint
        (folder / CURVES).unlink(missing_ok=True)
        write_text(folder / TAKEN, json.dumps(digests_of(plan), indent=2) + "\n")
    (folder / SKIPPED).unlink(missing_ok=True)
    note_commit(folder, commit(), resume)
    write_text(folder / PLAN, json.dumps(plain(plan), indent=2) + "\n")
    texts = training.texts | (development.texts if development else {})
    # A run that goes on need not find again what it began with.
    known = [*plan.needs.values(), *(folders.values() if resume else ())]
    before = {id for recogniser in known for id in heard_by(recogniser)}
    write_text(folder / HEARD, heard_as(texts, before))
    trainer.run()
    skipped = training.skipped + (development.skipped if development else [])
    write_text(folder / SKIPPED, "".join(json.dumps(plain(s)) + "\n" for s in skipped))
    position = trainer.position
    best = position.best if development else {}
    return Outcome(folders, best, skipped, len(position.too_short_for_ctc))


def prepared(plan: Plan, manifests: Sequence[Path], cache: Path, device: torch.device) -> Prepared:
    """Read the data of a plan and build its recognisers, on `device`.

    Raises:
        InputError: bad data, or a frozen teacher that does not fit it.
    """
    utterances = plan.data.read(manifests)
    by_split: dict[str, list[Utterance]] = {"train": [], "dev": []}
    for utterance in utterances:
        by_split.setdefault(utterance.split, []).append(utterance)
    if not by_split["train"]:
        raise InputError(f"{manifests[0]}: no utterance of split train; mark some")
    if by_split["dev"] and not any(normalise(each.text) for each in by_split["dev"]):
        raise InputError(
            f"{manifests[0]}: split dev has {len(by_split['dev'])} utterances and no text, so no "
            "word error rate; write their texts, or mark others"
        )
    if not by_split["dev"]:
        there = ", ".join(sorted(split for split, those in by_split.items() if those))
        said = f"no utterance of split dev (there are: {there}): the last weights will be kept"
        tqdm.write(f"codert: {manifests[0]}: {said}", file=sys.stderr)
    wordpieces = wordpieces_of(plan, by_split["train"])
    if not any(normalise(each.text) for each in by_split["train"]):
        check_decoders(plan, str(manifests[0]))

    def dataset(split: str, training: bool) -> Dataset:
        return Dataset(
            by_split[split],
            wordpieces,
            plan.features,
            plan.data,
            cache,
            training=training,
            seed=plan.training.seed,
        )

    training = dataset("train", training=True)
    development = dataset("dev", training=False) if by_split["dev"] else None
    for name, teacher in plan.frozen.items():
        check_wordpieces(teacher, wordpieces, f"recognisers.{name}.frozen: {teacher}")
    ensemble = Ensemble.build(plan, plan.features.mels, len(wordpieces))
    mean, deviation = training.mean_and_deviation()
    for recogniser in ensemble.live.values():
        recogniser.front_end.normalise_by(mean, deviation)
    ensemble.to(device)
    for name in plan.cached:
        where = f"recognisers.{name}.cached"
        config = load_card(plan.frozen[name]).model
        ensemble.caches[name] = TeacherCache.open(
            cache, ensemble.frozen[name], config, training.frames, where
        )
    return Prepared(ensemble, training, development, wordpieces)


def check_finished(plan: Plan, *, starts: bool) -> None:
    """Raises PlanError where a recogniser that the plan takes, or also starts from, is missing."""
    for (name, *keys), folder in plan.needs.items():
        if (starts or keys == ["frozen"]) and not (folder / CONFIG).is_file():
            key = ".".join(["recognisers", name, *keys])
            raise PlanError(
                f"{key}: {folder}: no recogniser is there; make it first (a teacher by "
                f"recipes/teacher.yaml, others by what the folder is named after), or name "
                f"another: --set {key}=RUN"
            )


def wordpieces_of(plan: Plan, utterances: Iterable[Utterance]) -> WordPieces:
    """Those that the plan names; else those of a training split's texts, or of a finished teacher.

    Raises:
        InputError: there are none, or the plan's size does not suit the texts.
    """
    if plan.wordpieces.model is not None:
        try:
            return WordPieces.load(Path(plan.wordpieces.model))
        except InputError as error:
            raise PlanError(f"wordpieces.model: {error}") from None
    texts = [text for each in utterances if (text := normalise(each.text))]
    if not texts and plan.data.untranscribed and plan.frozen:
        return WordPieces.load(next(iter(plan.frozen.values())) / WORDPIECES)
    return WordPieces.train(texts, plan.wordpieces)

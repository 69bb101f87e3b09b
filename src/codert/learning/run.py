"""A run: a plan, its data and its folder.

runs/NAME/PLAN/
    plan.json                 the whole plan as it was run
    taken.json                digests of the weights that it starts or learns from
    heard.txt                 ids of the utterances that it trains on or is chosen by, and likewise
                              what it starts or learns from
    curves.jsonl              losses and development WER as they went
    checkpoint.safetensors    the last state, for --resume
    skipped.jsonl             utterances left out, with reasons; written last
    RECOGNISER/               each recogniser that it made, at its best
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch

from codert.config import build, plain
from codert.data.dataset import Dataset, Skipped
from codert.data.description import description
from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.errors import InputError, PlanError
from codert.files import write_text
from codert.learning.ensemble import Ensemble
from codert.learning.plan import Plan
from codert.learning.start import check_wordpieces, start
from codert.learning.teacher_cache import TeacherCache
from codert.learning.trainer import CHECKPOINT, CURVES, Trainer
from codert.models.folder import CONFIG, WEIGHTS, WORDPIECES, Card, save_recogniser

PLAN, TAKEN, HEARD, SKIPPED = "plan.json", "taken.json", "heard.txt", "skipped.jsonl"


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
    _check_free(folder, plan, resume)
    # A checkpoint has what became of what the recognisers began with.
    check_finished(plan, starts=not resume)
    ensemble, training, development, wordpieces = prepared(plan, manifests, cache, device)
    folders = {name: folder / name for name in ensemble.made}

    def save_best(name: str, updates: int) -> None:
        card = Card(
            model=plan.made[name],
            symbols=len(wordpieces),
            features=plain(plan.features),
            role=plan.recognisers[name].role,
            strategy=plan.strategy,
            understands=plan.understands or description(manifests),
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
        write_text(folder / TAKEN, json.dumps(_digests(plan), indent=2) + "\n")
    (folder / SKIPPED).unlink(missing_ok=True)
    write_text(folder / PLAN, json.dumps(plain(plan), indent=2) + "\n")
    ids = [id for part in (training, development) if part for id in part.utterances]
    # A run that goes on need not find again what it began with.
    known = [*plan.needs.values(), *(folders.values() if resume else ())]
    before = {id for recogniser in known for id in heard_by(recogniser)}
    write_text(folder / HEARD, "".join(f"{id}\n" for id in (*ids, *sorted(before.difference(ids)))))
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
    wordpieces = wordpieces_of(plan, by_split["train"])

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
        ensemble.caches[name] = TeacherCache.open(
            cache, ensemble.frozen[name], training.frames, f"recognisers.{name}.cached"
        )
    return Prepared(ensemble, training, development, wordpieces)


def check_finished(plan: Plan, *, starts: bool) -> None:
    """Raises PlanError where a recogniser that the plan takes, or also starts from, is missing."""
    for (name, *keys), folder in plan.needs.items():
        if (starts or keys == ["frozen"]) and not (folder / CONFIG).is_file():
            key = ".".join(["recognisers", name, *keys])
            raise PlanError(
                f"{key}: {folder}: no recogniser is there; train it first, as with "
                f"recipes/teacher.yaml, or name another: --set {key}=RUN"
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


def plan_of(folder: Path) -> Plan | None:
    """The plan that a folder holds a run of; None where it holds none.

    Raises:
        InputError: the file is broken, or of another codert.
    """
    path = folder / PLAN
    return read_plan_json(path) if path.exists() else None


def read_plan_json(path: Path) -> Plan:
    """A whole plan as a run or an experiment keeps it.

    Raises:
        InputError: the file is broken, or of another codert.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}; remove it and its run") from None
    return build(Plan, content, str(path))


def heard_by(recogniser: Path) -> frozenset[str]:
    """The ids that a recogniser, and what it began with or learnt from, was trained or chosen by.

    They are beside it in its run's folder, or with it where it was exported.
    """
    folder = recogniser.resolve()
    for path in (folder / HEARD, folder.parent / HEARD):
        if path.is_file():
            return frozenset(filter(None, path.read_text(encoding="utf-8").split("\n")))
    return frozenset()


def skipped_in(run: Path) -> list[Skipped]:
    """What a finished run left out, with reasons; nothing is known of others."""
    path = run / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Skipped(**json.loads(line)) for line in lines]


def check_heard(run: Path, plan: Plan, utterances: Iterable[Utterance]) -> None:
    """Raises InputError where a finished run of a plan heard others than it would hear today.

    They are told by their ids: it would have to train on one that it does not know, or be scored
    on one that it was trained on itself.
    """
    heard = heard_by(run)
    known = heard.union(each.id for each in skipped_in(run))
    own = heard.difference(*map(heard_by, plan.needs.values()))
    for each in utterances:
        hears = each.split in ("train", "dev")
        if (hears and each.id not in known) or (not hears and each.id in own):
            raise InputError(
                f"{run}: was trained on other speech, or with other speakers held out, as "
                f"{each.id} shows; bring back that --data, or choose another --out"
            )


def is_finished(folder: Path, plan: Plan) -> bool:
    """Whether a folder holds a run of this plan that came to its end.

    Raises:
        InputError: it holds a run of another plan, or of other weights in the folders that this
            one takes.
    """
    done = (folder / SKIPPED).exists()
    if not done and not (folder / CHECKPOINT).exists():
        return False  # nothing of it is left to mix with
    begun = plan_of(folder)
    if begun is not None and placeless(begun) != placeless(plan):
        raise InputError(
            f"{folder / PLAN}: the run was begun with other settings; "
            "resume with the same, or choose another --out"
        )
    _check_taken(folder, plan)
    return done and begun is not None


def _check_taken(folder: Path, plan: Plan) -> None:
    """Raises InputError where a folder that the plan takes holds other weights than the run took.

    Folders may move, and be gone once the run has begun; so their names say nothing.
    """
    path = folder / TAKEN
    taken = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for key, digest in _digests(plan).items():
        if digest != taken.get(key, digest):
            raise InputError(
                f"{path}: recognisers.{key} is not what the run was begun with; "
                "bring that one back, or choose another --out"
            )


def _digests(plan: Plan) -> dict[str, str]:
    """Of the weights in each folder that a plan takes and that is there, by its key."""
    files = {".".join(key): folder / WEIGHTS for key, folder in plan.needs.items()}
    return {key: sha256(f.read_bytes()).hexdigest() for key, f in files.items() if f.is_file()}


def placeless(plan: Plan) -> Plan:
    """The plan without the places of other runs: they may be copied to another machine."""
    return with_places(plan, without_place)


def without_place(folder: str) -> str:
    """The end of a folder's name, which it keeps where it is copied to."""
    return "/".join(Path(folder).parts[-2:])


def with_places(plan: Plan, place: Callable[[str], str]) -> Plan:
    """The plan with other names for the folders and files that it takes."""
    members = {
        name: replace(
            member,
            frozen=place(member.frozen) if member.frozen else None,
            start={part: place(folder) for part, folder in member.start.items()},
        )
        for name, member in plan.recognisers.items()
    }
    model = plan.wordpieces.model
    wordpieces = replace(plan.wordpieces, model=place(model) if model else None)
    return replace(plan, recognisers=members, wordpieces=wordpieces)


def _check_free(folder: Path, plan: Plan, resume: bool) -> None:
    """Raises InputError where the folder is another run's."""
    if (folder / SKIPPED).exists() and not (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a finished run; choose another --out")
    if resume:
        is_finished(folder, plan)
    elif (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a run already; add --resume, or choose another --out")

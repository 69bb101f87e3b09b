"""A recogniser to hand on: its folder, with a card that tells people what it is."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from codert.config import as_assignments, plain
from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.decoding.transcriber import Transcriber
from codert.errors import InputError
from codert.evaluation.significance import Interval, bootstrap_interval, by_drawn
from codert.experiments.candidates import experiment_of, records_below, unlike_scored
from codert.experiments.records import Record, Records
from codert.files import write_bytes, write_text
from codert.learning.heard import heard_by, known_to
from codert.learning.plan import Part, Plan, parts_by_folder
from codert.learning.plan_places import placeless, without_place
from codert.learning.run import wordpieces_of
from codert.learning.run_folder import HEARD, plan_of, skipped_in
from codert.models.folder import CONFIG, WEIGHTS, WORDPIECES, load_card

CARD = "README.md"
_FILES = (CONFIG, WEIGHTS, WORDPIECES, HEARD)

_SENTENCES = 10
_SAYABLE = range(3, 13)  # words


@dataclass(frozen=True)
class Score:
    """A recorded word error rate with its 95 % interval over speakers, if several, in percent.

    `heard` of the utterances it was trained on, or chosen by, or what it starts or learns from was.
    """

    corpus: str
    split: str
    words: int
    speakers: int
    wer: float
    interval: Interval | None
    heard: int


@dataclass(frozen=True)
class Speech:
    """What a recogniser was trained on.

    Attributes:
        hours: of it.
        untranscribed: hours of it that have no text.
        utterances: their number.
        speakers: likewise.
        words: likewise.
        distinct: words.
        longest: seconds of the longest utterance.
    """

    hours: float
    untranscribed: float
    utterances: int
    speakers: int
    words: int
    distinct: int
    longest: float


@dataclass(frozen=True)
class Exported:
    """What is in the folder now.

    Attributes:
        folder: of the copy.
        files: bytes by name.
        scores: that the card tells; empty where none was recorded.
    """

    folder: Path
    files: dict[str, int]
    scores: list[Score]


def export(run: Path, out: Path, manifests: Sequence[Path]) -> Exported:
    """Copy a recogniser as it is, with a model card beside it.

    Args:
        run: the recogniser's folder, in that of its run.
        out: folder of the copy.
        manifests: that it was trained on, for what the card tells of them.

    Raises:
        InputError: there is no such run, it was trained on something else or after it was scored,
            or `out` holds something else.
    """
    transcriber = Transcriber.load(run)
    plan = plan_of(run.resolve().parent)
    if plan is None:
        raise InputError(
            f"{run}: its run's plan.json is not beside it; name the original, in its run's folder"
        )
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    # An older copy may be replaced, which has a card; a run's own recogniser has none.
    if held and (held - {*_FILES, CARD} or CARD not in held):
        raise InputError(f"{out}: holds something else; name a folder that is new or empty")
    heard = _heard(run, plan, manifests)
    # Texts may have been mended since; where they made the word-pieces, those tell.
    if plan.wordpieces.model is None and wordpieces_of(plan, heard) != transcriber.wordpieces:
        raise _not_trained_on(run, manifests)
    skipped = {each.id for each in skipped_in(run.resolve().parent)}
    most = plan.data.max_seconds
    heard = [each for each in heard if each.id not in skipped and each.seconds <= most]
    texts = [normalise(each.text) for each in heard]
    scored = _recorded(run)
    content = {name: (run / name).read_bytes() for name in _FILES if name != HEARD}
    content[HEARD] = "".join(f"{id}\n" for id in sorted(heard_by(run))).encode()
    for name, each in content.items():
        write_bytes(out / name, each)
    files = {name: len(each) for name, each in content.items()}
    scores = [score for _, score in scored]
    card = _TEMPLATES.get_template("model_card.md.jinja").render(
        name=out.resolve().name,
        card=transcriber.card,
        sentences=sentences(texts),
        scores=scores,
        encoder_params=transcriber.recogniser.encoder_params,
        total_params=transcriber.recogniser.total_params,
        files=files,
        speech=_speech(heard, texts),
        starts=_starts(plan.begun(run.resolve().name)),
        corpora=sorted({record.corpus for record, _ in scored}),
        plan=plan,
        held_out=list(map(shlex.quote, _held_out(plan))),
        record=scored[0][0] if scored else None,
        recipe=_recipe(plan),
    )
    write_text(out / CARD, card)
    return Exported(out, files | {CARD: len(card.encode())}, scores)


def sentences(texts: Iterable[str]) -> list[str]:
    """Ten of the texts to read aloud, spread evenly over the alphabet; fewer where fewer differ.

    They have 3 to 12 words where there are ten such.
    """
    distinct = sorted(set(texts) - {""})
    sayable = [text for text in distinct if len(text.split()) in _SAYABLE]
    chosen = sayable if len(sayable) >= _SENTENCES else distinct
    many = min(_SENTENCES, len(chosen))
    return [chosen[i * len(chosen) // many] for i in range(many)]


@dataclass(frozen=True)
class Start:
    """Parts that began with the weights of one folder.

    Attributes:
        parts: their names.
        folder: without its place.
        understands: what was there, for people; empty where the folder is gone.
    """

    parts: list[Part]
    folder: str
    understands: str


def _starts(begun: Mapping[Part, str]) -> list[Start]:
    found = []
    for folder, parts in parts_by_folder(begun).items():
        try:
            understands = load_card(Path(folder)).understands
        except InputError:
            understands = ""
        found.append(Start(parts, without_place(folder), understands))
    return found


def _recipe(plan: Plan) -> str:
    return yaml.safe_dump(
        plain(placeless(plan)), sort_keys=False, allow_unicode=True, default_flow_style=None
    )


def _held_out(plan: Plan) -> list[str]:
    """As --set says it: the fold, or the speakers that are named."""
    by = ["fold"] if plan.data.fold else ["dev_speakers", "test_speakers"]
    named = {key: value for key in by if (value := getattr(plan.data, key))}
    return as_assignments(plain({"data": named})) if named else []


def _heard(run: Path, plan: Plan, manifests: Sequence[Path]) -> list[Utterance]:
    everything = plan.data.read(manifests)
    heard = [each for each in everything if each.split == "train"]
    if not heard:
        raise InputError(f"{manifests[0]}: no utterance of split train")
    known, own = known_to(run.resolve().parent, plan)
    gone = own.keys() - {each.id for each in everything}
    if gone or not known.issuperset(each.id for each in heard):
        raise _not_trained_on(run, manifests)
    return heard


def _not_trained_on(run: Path, manifests: Sequence[Path]) -> InputError:
    return InputError(
        f"{run}: was not trained on {', '.join(map(str, manifests))}; "
        "give --data as it was given to its training"
    )


def _speech(heard: Sequence[Utterance], texts: Sequence[str]) -> Speech:
    words = [word for text in texts for word in text.split()]
    return Speech(
        hours=sum(each.seconds for each in heard) / 3600,
        untranscribed=sum(u.seconds for u, text in zip(heard, texts, strict=True) if not text)
        / 3600,
        utterances=len(heard),
        speakers=len({each.speaker for each in heard}),
        words=len(words),
        distinct=len(set(words)),
        longest=max(each.seconds for each in heard),
    )


def _recorded(run: Path) -> list[tuple[Record, Score]]:
    """What the experiment that a run lies in recorded of it, if it lies in one."""
    root = experiment_of(run)
    if root is None:
        return []
    found = []
    for key, record in records_below(run, root).items():
        if reason := unlike_scored(run, record):
            raise InputError(reason)
        scored = Records(root).scored(key)
        speakers = [each.speaker for each in scored]
        errors, words = by_drawn(
            speakers, [each.errors for each in scored], [each.words for each in scored]
        )
        score = Score(
            corpus=record.corpus,
            split=record.split,
            words=sum(words),
            speakers=len(set(speakers)),
            wer=100 * sum(errors) / sum(words),
            interval=bootstrap_interval(errors, words) if len(set(speakers)) > 1 else None,
            heard=record.heard,
        )
        found.append((record, score))
    return found


_TEMPLATES = Environment(
    loader=PackageLoader("codert.experiments", "."),
    autoescape=False,  # Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

"""The training plan: recognisers, what they share, and who teaches whom.

All strategies are such graphs; nothing in codert branches on a strategy's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from codert.config import build, check_name
from codert.data.dataset import DataConfig
from codert.data.features import FeatureConfig
from codert.data.wordpieces import WordPieceConfig
from codert.errors import InputError, PlanError
from codert.learning.edges import Edge
from codert.learning.moving_average import AverageConfig
from codert.learning.schedule import RateSchedule
from codert.models import RecogniserConfig
from codert.models.folder import Card

SHARED = "shared"  # the owner of what recognisers share, where they have names of their own
# Of a recogniser; the decoder is the predictor and the joint.
Part = Literal["front_end", "encoder", "decoder"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Member:
    """A recogniser of the plan: one that learns, a finished one, or the average of one that learns.

    Attributes:
        model: the name of its dimensions under `models`; live recognisers only.
        frozen: the folder of a finished recogniser, which teaches and does not learn.
        cached: whether what a frozen encoder gives is kept on disk, for later epochs and runs; see
            `TeacherCache`.
        average: of which live recogniser it is the moving average.
        start: by part, the folder of a finished recogniser whose weights it begins with; the
            front end takes the normalisation of features too. In YAML a bare folder is for all.
        keep: parts that its own losses, and edges to it, leave as they are. Where no other
            recogniser shares such a part and trains it, it has to be started, and runs as in
            inference.
        rate: a factor on the learning rate of its own weights; what is shared has the plain rate.
        role: student or teacher, for tables.
    """

    model: str | None = None
    frozen: str | None = None
    cached: bool = False
    average: AverageConfig | None = None
    start: dict[Part, str] = field(default_factory=dict)
    keep: tuple[Part, ...] = ()
    rate: float = 1.0
    role: Literal["student", "teacher"] = "student"

    def __post_init__(self) -> None:
        """Raises ValueError for a member of no kind or of several, and for keys that do nothing."""
        if [self.model, self.frozen, self.average].count(None) != 2:
            raise ValueError("write one of model: NAME, frozen: RUN and average: {of: NAME}")
        if self.model is None and (self.start or self.keep or self.rate != 1):
            raise ValueError("start, keep and rate are of recognisers that learn; remove them")
        if self.cached and self.frozen is None:
            raise ValueError("cached is of frozen recognisers, which stay as they are; remove it")
        if self.rate <= 0:
            raise ValueError("rate is above 0; to train nothing of it write frozen: RUN")


def parts_by_folder(start: Mapping[Part, str]) -> dict[str, list[Part]]:
    """What begins with the weights in a folder, of all the folders of a `start`."""
    found: dict[str, list[Part]] = {}
    for part, folder in start.items():
        found.setdefault(folder, []).append(part)
    return found


@dataclass(frozen=True)
class TrainingConfig:
    """How every live recogniser of a plan is trained.

    Attributes:
        epochs: passes over the training split.
        rate: the learning rate's schedule.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip: largest gradient norm of a group; each recogniser is a group, and so are what
            they share and the weights of an edge.
        accumulate: batches per update.
        ctc_weight: of a CTC loss per label on the encoder logits.
        fastemit: FastEmit's weight; below 0 labels come later.
        evaluate_every: epochs between looks at the development split.
        checkpoint_every: seconds between checkpoints; 0 for one after every update.
        seed: of initialisation, dropout, order and augmentation.
    """

    epochs: int = 10
    rate: RateSchedule = RateSchedule()  # noqa: RUF009 (frozen)
    betas: tuple[float, ...] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 5.0
    accumulate: int = 1
    ctc_weight: float = 0.3
    fastemit: float = 0.0
    evaluate_every: int = 1
    checkpoint_every: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be trained with."""
        if min(self.epochs, self.accumulate, self.evaluate_every) < 1:
            raise ValueError("epochs, accumulate and evaluate_every are at least 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas are two numbers from 0 to less than 1")
        if self.clip <= 0:
            raise ValueError("clip is above 0")
        if min(self.weight_decay, self.ctc_weight) < 0:
            raise ValueError("weight_decay and ctc_weight are at least 0")
        if self.fastemit <= -1:
            raise ValueError("fastemit is above -1; at -1 no label would be learnt")
        if self.checkpoint_every < 0 or self.seed < 0:
            raise ValueError("checkpoint_every and seed are at least 0")


@dataclass(frozen=True)
class Plan:
    """A whole recipe: the graph, and the settings that it is run with.

    Attributes:
        strategy: a label that only tables read.
        recognisers: by name.
        share: what all live recognisers have in common: the decoder (predictor and joint), the
            front end (feature normalisation and convolutions).
        edges: who teaches whom.
        models: dimensions by name, for `recognisers`.
        understands: what the result will understand, for people; where it is empty, what is
            said beside the manifests.
    """

    recognisers: dict[str, Member]
    models: dict[str, RecogniserConfig]
    strategy: str = ""
    share: tuple[Literal["front_end", "decoder"], ...] = ()
    edges: tuple[Edge, ...] = ()
    data: DataConfig = DataConfig()  # noqa: RUF009 (frozen)
    features: FeatureConfig = FeatureConfig()  # noqa: RUF009
    wordpieces: WordPieceConfig = WordPieceConfig()  # noqa: RUF009
    training: TrainingConfig = TrainingConfig()
    understands: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a recogniser that no folder and no group can be named by."""
        for name in self.recognisers:
            check_name(name)
            if "." in name or name == SHARED:
                raise ValueError(f"recognisers.{name}: choose a name without dots, not {SHARED!r}")

    @property
    def live(self) -> dict[str, RecogniserConfig]:
        """The dimensions of the recognisers that learn."""
        return {n: self.models[m.model] for n, m in self.recognisers.items() if m.model}

    @property
    def frozen(self) -> dict[str, Path]:
        """The folders of the recognisers that do not."""
        return {n: Path(m.frozen) for n, m in self.recognisers.items() if m.frozen}

    @property
    def cached(self) -> list[str]:
        """The frozen recognisers whose encoders' outputs are kept on disk."""
        return [name for name, member in self.recognisers.items() if member.cached]

    @property
    def averages(self) -> dict[str, AverageConfig]:
        """The recognisers that follow others."""
        return {n: m.average for n, m in self.recognisers.items() if m.average}

    @property
    def made(self) -> dict[str, RecogniserConfig]:
        """The dimensions of all that a run ends with: what learns, and its averages."""
        return self.live | {name: self.live[each.of] for name, each in self.averages.items()}

    @property
    def needs(self) -> dict[tuple[str, ...], Path]:
        """The folders of finished recognisers that it takes, by the keys below `recognisers`."""
        needs: dict[tuple[str, ...], Path] = {}
        for name, member in self.recognisers.items():
            if member.frozen:
                needs[name, "frozen"] = Path(member.frozen)
            for part, folder in member.start.items():
                needs[name, "start", part] = Path(folder)
        return needs

    def owner(self, name: str, part: Part) -> str:
        """Of a part of a live recogniser: itself, or `SHARED`."""
        return SHARED if part in self.share else name

    def begun(self, name: str) -> dict[Part, str]:
        """By part, the folder whose weights a recogniser that is made began with."""
        live = self.averages[name].of if name in self.averages else name
        return {
            part: member.start[part]
            for part in PARTS
            for other, member in self.recognisers.items()
            if part in member.start and self.owner(other, part) == self.owner(live, part)
        }

    @property
    def kept(self) -> set[tuple[str, Part]]:
        """The parts that stay as they are, with their owners: no loss trains them."""
        kept: set[tuple[str, Part]] = set()
        trained: set[tuple[str, Part]] = set()
        for name in self.live:
            for part in PARTS:
                which = kept if part in self.recognisers[name].keep else trained
                which.add((self.owner(name, part), part))
        return kept - trained


def check(plan: Plan, where: str) -> None:
    """What types cannot say of a plan read from a file; raises InputError."""
    for name, member in plan.recognisers.items():
        if member.model is not None and member.model not in plan.models:
            raise InputError(
                f"{where}: recognisers.{name}.model is {member.model!r}; "
                f"known under models: {', '.join(plan.models)}"
            )
    if not plan.live:
        raise InputError(f"{where}: recognisers: none of them learns; give one a model")
    for name, average in plan.averages.items():
        if average.of not in plan.live:
            raise InputError(
                f"{where}: recognisers.{name}.average.of is {average.of!r}; "
                f"those that learn: {', '.join(plan.live)}"
            )
    for i, edge in enumerate(plan.edges):
        for key, end in (("from", edge.teacher), ("to", edge.student)):
            if end not in plan.recognisers:
                raise InputError(
                    f"{where}: edges[{i}].{key} is {end!r}; "
                    f"known under recognisers: {', '.join(plan.recognisers)}"
                )
        if edge.student not in plan.live:
            what = "frozen" if edge.student in plan.frozen else "an average"
            raise InputError(
                f"{where}: edges[{i}].to is {edge.student!r}, which is {what} and cannot learn; "
                "give it a model, or turn the edge round"
            )
        if edge.gradient == "both" and edge.teacher not in plan.live:
            what = "frozen" if edge.teacher in plan.frozen else "an average"
            raise InputError(
                f"{where}: edges[{i}].gradient is 'both', but {edge.teacher!r} is {what}; "
                "write student"
            )
        for end in (edge.teacher, edge.student):
            if end in plan.made:
                ctc_weight = plan.training.ctc_weight
                check_heads(plan.made[end], ctc_weight, f"{where}: edges[{i}]", end, edge)
        if edge.teacher in plan.made:
            teacher, student = plan.made[edge.teacher], plan.live[edge.student]
            check_frame_rates(teacher, student, f"{where}: edges[{i}]", edge)
            shared = edge.teacher in plan.live and "decoder" in plan.share
            if edge.match == "decoder_logits" and shared:
                raise InputError(
                    f"{where}: edges[{i}].match is 'decoder_logits', but {edge.teacher!r} and "
                    f"{edge.student!r} share their decoder; match something else, or share nothing"
                )
    if plan.data.untranscribed and all(edge.needs_labels for edge in plan.edges):
        raise InputError(
            f"{where}: data.untranscribed is true, but nothing teaches from speech without a "
            "transcript; add an edge that matches sequence, encoder_logits (as_trained) or hidden, "
            "or remove it"
        )
    for name in plan.cached:
        _check_cached(plan, name, where)
    if plan.share:
        _check_shared(plan, where)
    _check_kept(plan, where)


def check_features(card: Card, plan: Plan, where: str) -> None:
    """Raises PlanError where a recogniser hears other features than the plan makes."""
    heard = build(FeatureConfig, card.features, where, "features")
    if heard != plan.features:
        raise PlanError(
            f"{where}: it hears {heard} and the plan makes {plan.features}; "
            "set features as it was trained with"
        )


def check_heads(
    config: RecogniserConfig, ctc_weight: float, where: str, name: str, edge: Edge
) -> None:
    """Raises PlanError where an edge matches what comes from a head that no loss trains."""
    if edge.match not in ("encoder_logits", "decoder_logits") or not config.has_heads:
        return
    # CTC trains the encoder's head too, but not the decoder's, which a centred edge reads besides.
    of_encoder = edge.match == "encoder_logits"
    by_ctc = ctc_weight and of_encoder and edge.gauge == "as_trained"
    if not (config.joint.head_weight or by_ctc):  # type: ignore[union-attr]
        part = "encoder" if of_encoder and not ctc_weight else "decoder"
        raise PlanError(
            f"{where}: the {part} logits of {name!r} come from a head that no loss trains; train "
            "it with joint.head_weight above 0, or write match: lattice, which needs no heads"
        )


def check_frame_rates(
    teacher: RecogniserConfig, student: RecogniserConfig, where: str, edge: Edge
) -> None:
    """Raises PlanError where an edge cannot join the frame rates of its two ends."""
    of_teacher, of_student = teacher.encoder.subsampling, student.encoder.subsampling
    multiple = edge.rates == "multiple"
    if edge.rates != "any" and (of_student % of_teacher if multiple else of_student != of_teacher):
        mend = ", or the student a multiple of its teacher's" if multiple else ""
        raise PlanError(
            f"{where}: {edge.teacher!r} has one frame for {of_teacher} of the features' and "
            f"{edge.student!r} one for {of_student}, and the edge matches {edge.match}; "
            f"give both encoders the same subsampling{mend}"
        )


def _check_cached(plan: Plan, name: str, where: str) -> None:
    for key in ("noise", "spec_augment"):
        if getattr(plan.data, key) is not None:
            raise InputError(
                f"{where}: recognisers.{name}.cached: with data.{key} no two epochs hear the same; "
                f"remove one of the two (data.speeds may stay)"
            )
    for i, edge in enumerate(plan.edges):
        if edge.teacher == name and edge.match == "hidden" and edge.teacher_layer != -1:
            raise InputError(
                f"{where}: edges[{i}].teacher_layer is {edge.teacher_layer}, and of {name!r} the "
                "last layer alone is cached; write -1, or remove cached"
            )


def _check_shared(plan: Plan, where: str) -> None:
    (first, config), *others = plan.live.items()
    if not others:
        raise InputError(f"{where}: share: only {first!r} learns; remove share, or add another")
    if "front_end" in plan.share and not config.encoder.front_end.strides:
        raise InputError(
            f"{where}: share: the front end of {first!r} has no convolutions and so no weights; "
            "remove front_end"
        )
    for name, other in others:
        for part, mine, theirs in (
            ("front_end", config.encoder.front_end, other.encoder.front_end),
            ("decoder", (config.predictor, config.joint), (other.predictor, other.joint)),
        ):
            if part in plan.share and mine != theirs:
                raise InputError(
                    f"{where}: share: the {part} of {first!r} is {mine} and that of {name!r} is "
                    f"{theirs}; what is shared must be equal"
                )
    for part in plan.share:
        folders = {m.start[part] for m in plan.recognisers.values() if part in m.start}
        if len(folders) > 1:
            raise InputError(
                f"{where}: share: the {part} is to start from {' and '.join(sorted(folders))}; "
                "name one of them"
            )


def _check_kept(plan: Plan, where: str) -> None:
    started = {(plan.owner(n, part), part) for n in plan.live for part in plan.recognisers[n].start}
    for name, config in plan.live.items():
        member = plan.recognisers[name]
        for part in member.keep:
            if (plan.owner(name, part), part) in plan.kept - started:
                raise InputError(
                    f"{where}: recognisers.{name}: keep: the {part} would stay as it is drawn; "
                    f"add start.{part}, or share it with another that trains it"
                )
        weighty = [p for p in PARTS if p != "front_end" or config.encoder.front_end.strides]
        if all(part in member.keep for part in weighty):
            raise InputError(
                f"{where}: recognisers.{name}.keep: nothing of it would learn; "
                "write frozen: RUN in place of model, start and keep"
            )

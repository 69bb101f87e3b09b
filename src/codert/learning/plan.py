"""The training plan: recognisers, what they share, and who teaches whom.

All strategies are such graphs; nothing in codert branches on a strategy's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from codert.config import check_name
from codert.data.config import DataConfig
from codert.data.features import FeatureConfig
from codert.data.wordpieces import WordPieceConfig
from codert.learning.edges import Edge
from codert.learning.moving_average import AverageConfig
from codert.learning.schedule import RateSchedule
from codert.models import RecogniserConfig

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
        role: student or teacher; see `Card`, and `Plan.is_upward`.
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
        ctc_weight: of a CTC loss per label on the encoder logits. None by default: no student was
            shown to gain by it, and most lose (docs/search.md).
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
    ctc_weight: float = 0.0
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

    def is_upward(self, edge: Edge) -> bool:
        """Whether by its edge a student teaches a teacher, as when to speak."""
        roles = self.recognisers[edge.teacher].role, self.recognisers[edge.student].role
        return roles == ("student", "teacher")

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

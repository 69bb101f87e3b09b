"""The recognisers of a plan, built with what they share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from codert.errors import PlanError
from codert.learning.compatibility import check_features, check_frame_rates, check_heads
from codert.learning.moving_average import MovingAverage
from codert.learning.plan import SHARED, Part, Plan
from codert.learning.randomness import stream
from codert.learning.teacher_cache import TeacherCache
from codert.models.folder import Card, load_recogniser
from codert.models.front_end import FrontEnd
from codert.models.recogniser import Decoder, Encoded, Encoder, Predicted, Recogniser

# The modules of a recogniser's parts.
MODULES: dict[Part, tuple[str, ...]] = {
    "front_end": ("front_end",),
    "encoder": ("encoder",),
    "decoder": ("decoder", "joint"),
}

M = TypeVar("M", bound=nn.Module)


@dataclass
class Ensemble:
    """Who takes part in a run.

    Attributes:
        live: the recognisers that learn.
        frozen: those that only teach; in no optimiser, checkpoint or parameter count.
        groups: the weights that are optimised and clipped together, by owner: each live
            recogniser's own, what they share, and each edge's.
        kept: modules of live recognisers that do not learn.
        spared: the live recognisers whose losses do not reach their front ends.
        averages: the recognisers that follow live ones.
        caches: what frozen encoders gave before, for those that are `cached`.
    """

    seed: int
    live: dict[str, Recogniser]
    frozen: dict[str, Recogniser]
    groups: dict[str, nn.ModuleDict] = field(default_factory=dict)
    kept: list[nn.Module] = field(default_factory=list)
    spared: set[str] = field(default_factory=set)
    averages: dict[str, MovingAverage] = field(default_factory=dict)
    caches: dict[str, TeacherCache] = field(default_factory=dict)

    @classmethod
    def build(cls, plan: Plan, features: int, symbols: int) -> "Ensemble":
        """New recognisers for F features and V symbols, and the frozen ones from their folders.

        Raises:
            PlanError: a frozen recogniser that does not fit the plan.
        """
        seed = plan.training.seed
        groups: dict[str, nn.ModuleDict] = {}
        live = {}

        def part(name: str, owner: str, make: Callable[[], M]) -> M:
            modules = groups.setdefault(owner, nn.ModuleDict())
            if name not in modules:
                with stream(seed, owner, name):
                    modules[name] = make()
            return modules[name]  # type: ignore[return-value]

        for name, config in plan.live.items():
            front_end = part(
                "front_end",
                plan.owner(name, "front_end"),
                partial(FrontEnd, config.encoder.front_end, features),
            )
            owner = plan.owner(name, "decoder")
            live[name] = Recogniser(
                front_end,
                part("encoder", name, partial(Encoder, config, front_end.width, symbols)),
                part("decoder", owner, partial(Decoder, config, symbols)),
                part("joint", owner, partial(config.joint.build, symbols)),
            )
        kept = [groups[owner][name] for owner, which in plan.kept for name in MODULES[which]]
        for module in kept:
            module.requires_grad_(False)
        frozen = {}
        for name, folder in plan.frozen.items():
            frozen[name], card = load_recogniser(folder)
            _check_teacher(plan, name, card, symbols)
            frozen[name].requires_grad_(False)
        averages = {n: MovingAverage(live[a.of], a.decay) for n, a in plan.averages.items()}
        spared = {name for name in live if "front_end" in plan.recognisers[name].keep}
        ensemble = cls(seed, live, frozen, groups, kept, spared, averages)
        teachers = live | ensemble.silent
        for i, edge in enumerate(plan.edges):
            try:
                with stream(seed, _own(i), "projection"):
                    projection = edge.projection(teachers[edge.teacher], live[edge.student])
            except ValueError as error:
                raise PlanError(f"edges[{i}]: {error}") from None
            if projection is not None:
                groups[_own(i)] = nn.ModuleDict({"projection": projection})
        return ensemble

    @property
    def made(self) -> dict[str, Recogniser]:
        """All that a run ends with: those that learn, and their averages."""
        return self.live | {name: each.recogniser for name, each in self.averages.items()}

    @property
    def silent(self) -> dict[str, Recogniser]:
        """Those that no gradient reaches: the frozen, and the averages."""
        return self.frozen | {name: each.recogniser for name, each in self.averages.items()}

    @property
    def state(self) -> dict[str, nn.Module]:
        """What a run changes, by the name that a checkpoint has for it."""
        return {**self.groups, **{name: each.recogniser for name, each in self.averages.items()}}

    def projection(self, edge: int) -> nn.Module | None:
        """The weights that an edge of the plan has of its own, by its place; None where none."""
        modules = self.groups.get(_own(edge))
        return None if modules is None else modules["projection"]

    def follow(self, updates: int) -> None:
        """Move the averages to the live weights after so many updates."""
        for average in self.averages.values():
            average.follow(updates)

    def to(self, device: torch.device) -> None:
        """Move everybody."""
        for module in (*self.state.values(), *self.frozen.values()):
            module.to(device)

    def train(self, mode: bool = True) -> None:
        """Training mode for all that learn, not for what is kept; False for inference."""
        for modules in self.groups.values():
            modules.train(mode)
        for kept in self.kept:
            for module in kept.modules():
                # cuDNN gives no gradient through an RNN in inference mode, and without dropout
                # of its own an RNN does the same in both.
                module.training = mode and isinstance(module, nn.RNNBase) and not module.dropout

    def encode(
        self, step: object, features: Tensor, lengths: Tensor, teachers: Collection[str]
    ) -> dict[str, Encoded]:
        """What the encoders of all that learn give, and of the silent that teach now.

        A shared front end runs once.
        """
        frames = self._each("front_end", step, features, lengths)
        encoded = {}
        for name, recogniser in self.live.items():
            heard, heard_lengths = frames[name]
            if name in self.spared:
                heard = heard.detach()
            with stream(self.seed, name, "encoder", step):
                encoded[name] = recogniser.encoder(heard, heard_lengths)
        with torch.no_grad():
            for name, encoder in (self.silent | self.caches).items():
                if name in teachers:
                    encoded[name] = encoder.encode(features, lengths)
        return encoded

    def predict(
        self, step: object, labels: Tensor, teachers: Collection[str]
    ) -> dict[str, Predicted]:
        """Likewise of the decoders; a shared decoder runs once."""
        predicted: dict[str, Predicted] = self._each("decoder", step, labels)
        with torch.no_grad():
            for name, recogniser in self.silent.items():
                if name in teachers:
                    predicted[name] = recogniser.decoder(labels)
        return predicted

    def _each(self, part: str, step: object, *inputs: Tensor) -> dict[str, Any]:
        """What a part of every live recogniser gives, each drawing from its owner's stream."""
        outputs = {}
        for owner, modules in self.groups.items():
            if part in modules:
                with stream(self.seed, owner, part, step):
                    outputs[owner] = modules[part](*inputs)
        return {name: outputs[name if name in outputs else SHARED] for name in self.live}


def _own(edge: int) -> str:
    """The owner of an edge's weights, as errors write the edge."""
    return f"edges[{edge}]"


def _check_teacher(plan: Plan, name: str, card: Card, symbols: int) -> None:
    where = f"recognisers.{name}.frozen: {plan.frozen[name]}"
    check_features(card, plan, where)
    if card.symbols != symbols:
        raise PlanError(
            f"{where}: it has {card.symbols} symbols and the plan {symbols}; "
            "train both with the same word-pieces"
        )
    for i, edge in enumerate(plan.edges):
        if edge.teacher == name:
            check_frame_rates(card.model, plan.live[edge.student], f"edges[{i}]", edge)
            check_heads(card.model, card.ctc_weight, f"edges[{i}]", name, edge)

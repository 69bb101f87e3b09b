"""The recognisers of a plan, built with what they share."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from codert.errors import InputError
from codert.learning.plan import Plan, check_frame_rates, check_heads
from codert.learning.randomness import stream
from codert.models.folder import Card, load_recogniser
from codert.models.recogniser import Decoder, Encoded, Encoder, Predicted, Recogniser

SHARED = "shared"


@dataclass
class Ensemble:
    """Who takes part in a run.

    Attributes:
        live: the recognisers that learn.
        frozen: those that only teach; in no optimiser, checkpoint or parameter count.
        groups: the weights that are optimised and clipped together, by owner: each live
            recogniser's own, and what they share.
    """

    seed: int
    live: dict[str, Recogniser]
    frozen: dict[str, Recogniser]
    groups: dict[str, nn.ModuleDict] = field(default_factory=dict)

    @classmethod
    def build(cls, plan: Plan, features: int, symbols: int) -> "Ensemble":
        """New recognisers for F features and V symbols, and the frozen ones from their folders.

        Raises:
            InputError: a frozen recogniser that does not fit the plan.
        """
        seed = plan.training.seed
        groups: dict[str, nn.ModuleDict] = {}
        live = {}

        def part(owner: str, name: str, make: type[Encoder] | type[Decoder], *args: object) -> None:
            modules = groups.setdefault(owner, nn.ModuleDict())
            if name not in modules:
                with stream(seed, owner, name):
                    modules[name] = make(*args)  # type: ignore[arg-type]

        for name, config in plan.live.items():
            owner = SHARED if plan.share else name
            part(name, "encoder", Encoder, config, features, symbols)
            part(owner, "decoder", Decoder, config, symbols)
            if "joint" not in groups[owner]:
                with stream(seed, owner, "joint"):
                    groups[owner]["joint"] = config.joint.build(symbols)
            live[name] = Recogniser(
                groups[name]["encoder"],  # type: ignore[arg-type]
                groups[owner]["decoder"],  # type: ignore[arg-type]
                groups[owner]["joint"],  # type: ignore[arg-type]
            )
        frozen = {}
        for name, folder in plan.frozen.items():
            frozen[name], card = load_recogniser(folder)
            _check_teacher(plan, name, card, features, symbols)
            frozen[name].requires_grad_(False)
        return cls(seed, live, frozen, groups)

    def to(self, device: torch.device) -> None:
        """Move everybody."""
        for module in (*self.groups.values(), *self.frozen.values()):
            module.to(device)

    def train(self, mode: bool = True) -> None:
        """Training mode for all that learn; False for inference."""
        for modules in self.groups.values():
            modules.train(mode)

    def encode(self, step: object, features: Tensor, lengths: Tensor) -> dict[str, Encoded]:
        """Every encoder's output; each draws its dropout from a stream of its own."""
        encoded = {}
        for name, recogniser in self.live.items():
            with stream(self.seed, name, "encoder", step):
                encoded[name] = recogniser.encoder(features, lengths)
        with torch.no_grad():
            for name, recogniser in self.frozen.items():
                encoded[name] = recogniser.encoder(features, lengths)
        return encoded

    def predict(self, step: object, labels: Tensor) -> dict[str, Predicted]:
        """Every decoder's output; a shared decoder runs once."""
        by_owner: dict[str, Predicted] = {}
        for owner, modules in self.groups.items():
            if "decoder" in modules:
                with stream(self.seed, owner, "decoder", step):
                    by_owner[owner] = modules["decoder"](labels)
        predicted = {name: by_owner.get(name) or by_owner[SHARED] for name in self.live}
        with torch.no_grad():
            for name, recogniser in self.frozen.items():
                predicted[name] = recogniser.decoder(labels)
        return predicted


def _check_teacher(plan: Plan, name: str, card: Card, features: int, symbols: int) -> None:
    where = f"recognisers.{name}.frozen: {plan.frozen[name]}"
    if card.features["mels"] != features:
        raise InputError(
            f"{where}: it hears {card.features['mels']} mels and the plan makes {features}; "
            "set features as it was trained with"
        )
    if card.symbols != symbols:
        raise InputError(
            f"{where}: it has {card.symbols} symbols and the plan {symbols}; "
            "train both with the same word-pieces"
        )
    for i, edge in enumerate(plan.edges):
        if edge.teacher == name:
            check_frame_rates(card.model, plan.live[edge.student], f"edges[{i}]", edge)
            check_heads(card.model, f"edges[{i}]", name, edge)

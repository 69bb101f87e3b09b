"""How far a recogniser agrees with another one: what it says, and when.

Shapes: U labels, V symbols.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from codert.analysis.distribution import Distribution
from codert.analysis.reading import Reading


@dataclass(frozen=True, eq=False)
class Emissions:
    """What a recogniser says where its best path emits the labels of an utterance.

    Attributes:
        said: when each label is emitted, in seconds, (U,): later by the encoder's `lookahead`; what
            the front end hears ahead is left out.
        as_trained: log-probabilities of the encoder logits there, (U, V).
        centred: likewise with the gauge centred.
        joint: log-probabilities of the cells that the labels leave, (U, V).
    """

    said: Tensor
    as_trained: Tensor
    centred: Tensor
    joint: Tensor

    @classmethod
    def of(
        cls, reading: Reading, moved: Tensor, frame_seconds: float, lookahead: int = 0
    ) -> "Emissions":
        """Of a reading.

        Args:
            reading: of an utterance.
            moved: the mean decoder logits, (V,).
            frame_seconds: how far apart its frames are.
            lookahead: the encoder's, in frames.
        """
        frames = reading.emitted
        encoder = reading.encoder_logits[frames]
        joint = reading.joint_logits(frames, torch.arange(len(frames), device=frames.device))
        return cls(
            (frames.cpu() + lookahead) * frame_seconds,
            encoder.log_softmax(-1).cpu(),
            (encoder + moved.to(encoder)).log_softmax(-1).cpu(),
            joint.log_softmax(-1).cpu(),
        )


@dataclass(frozen=True)
class Match:
    """How alike two recognisers' distributions are, each where it emits a label.

    So one that is late by its training is not said to disagree.

    Attributes:
        top: how often the same symbol is the likeliest, in percent.
        kl: mean KL(first || second), in nats.
    """

    top: float
    kl: float


@dataclass(frozen=True)
class Agreement:
    """A recogniser against another one on the same utterances.

    Attributes:
        against: the other one.
        labels: how many were compared.
        as_trained: of the encoder logits, at the frames where each one's best path emits labels.
        centred: likewise with each one's gauge centred.
        joint: of the joint logits, in the cells of each one's best path that labels leave.
        delay_ms: how much later than the other one's best path its own emits each label, in
            milliseconds, the `lookahead` of each included; negative where it is earlier.
    """

    against: str
    labels: int
    as_trained: Match
    centred: Match
    joint: Match
    delay_ms: Distribution


class AgreementMeter:
    """Collects pairs of emissions into an `Agreement`."""

    def __init__(self, against: str) -> None:
        """Against a recogniser of this name."""
        self._against = against
        self._delays: list[Tensor] = []
        self._sums = torch.zeros(3, 2, dtype=torch.float64)

    def add(self, first: Emissions, second: Emissions) -> None:
        """Compare one more utterance: the other recogniser's emissions, and this one's."""
        self._delays.append(1000 * (second.said - first.said).double())
        self._sums += torch.stack(
            [
                _matched(first.as_trained, second.as_trained),
                _matched(first.centred, second.centred),
                _matched(first.joint, second.joint),
            ]
        )

    def agreement(self) -> Agreement | None:
        """Of all utterances so far; None where no label was compared."""
        delays = torch.cat(self._delays) if self._delays else torch.zeros(0)
        if not len(delays):
            return None
        means = self._sums / len(delays)
        as_trained, centred, joint = (Match(100 * top, kl) for top, kl in means.tolist())
        delay = Distribution.of(delays.numpy())
        return Agreement(self._against, len(delays), as_trained, centred, joint, delay)


def _matched(log_p: Tensor, log_q: Tensor) -> Tensor:
    """How often both have the same likeliest symbol, and the sum of KL(P || Q), (2,)."""
    log_p, log_q = log_p.double(), log_q.double()
    same = (log_p.argmax(-1) == log_q.argmax(-1)).double().sum()
    # A symbol of no probability adds nothing, whatever the other one says.
    ratio = torch.where(log_p == -torch.inf, 0, log_p - log_q)
    return torch.stack([same, (log_p.exp() * ratio).sum()])

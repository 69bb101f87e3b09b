"""The loss of a plan on one batch: each recogniser's own, and what the edges add."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from codert.data.batches import Batch
from codert.lattice import BLANK, AdditiveLattice, inside
from codert.learning.edges import of_words
from codert.learning.ensemble import Ensemble
from codert.learning.plan import Plan, TrainingConfig
from codert.learning.randomness import stream
from codert.models.recogniser import Encoded, Outputs
from codert.transducer import transducer_loss


@dataclass
class Objective:
    """What a batch costs.

    Attributes:
        total: what is minimised, a scalar with gradients.
        terms: its parts by name, before their weights, without gradients; edges that match the
            same for the same student are one part.
        losses: the transducer loss of each utterance, (B,), by recogniser.
        too_short_for_ctc: ids of utterances with fewer frames than CTC needs.
    """

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    too_short_for_ctc: set[str] = field(default_factory=set)


def objective(
    plan: Plan, ensemble: Ensemble, batch: Batch, progress: float, step: object
) -> Objective:
    """The loss of `plan` on `batch`.

    Speech without a transcript costs what the edges say of it, for which what their teachers write
    is the transcript, but for those from a student to its teacher; while none has a weight the
    total has no gradient.

    Args:
        plan: the graph.
        ensemble: its recognisers.
        batch: of training utterances, on the recognisers' device.
        progress: of the run, 0 to 1, for schedules.
        step: names the streams that dropout and edges draw from.
    """
    # Of words that it wrote itself a teacher must not learn what its student makes of them: at
    # first it writes none.
    weights = {
        i: edge.weight * edge.schedule.at(progress)
        for i, edge in enumerate(plan.edges)
        if batch.transcribed or not plan.is_upward(edge)
    }
    # An edge without a weight is left out, so that it can neither add a nan nor cost a teacher.
    edges = {i: plan.edges[i] for i, weight in weights.items() if weight}
    teachers = {edge.teacher for edge in edges.values()}
    encoded = ensemble.encode(step, batch.features, batch.frame_lengths, teachers)
    predicted = ensemble.predict(step, batch.labels, teachers)
    recognisers = ensemble.live | ensemble.silent
    outputs = {
        name: Outputs(
            encoded[name],
            predicted[name],
            recognisers[name].lattice(encoded[name], predicted[name], batch.label_lengths),
            recognisers[name],
        )
        for name in encoded
    }
    for name in ensemble.live:
        if "decoder" in plan.recognisers[name].keep:  # others that share it may train it
            outputs[name] = outputs[name].with_encoder_only()
    result = Objective(batch.features.new_zeros(()))
    for name in ensemble.live if batch.transcribed else ():
        head_weight = plan.live[name].joint.head_weight
        _add_own(result, name, outputs[name], batch, plan.training, head_weight)
    for i, edge in edges.items():
        teacher, student = outputs[edge.teacher], outputs[edge.student]
        if (projection := ensemble.projection(i)) is not None:
            student = edge.projected(student, projection)
        with stream(ensemble.seed, edge.student, f"edges[{i}]", step):
            labels, lengths = batch.labels, batch.label_lengths
            if edge.needs_labels and not batch.transcribed:
                teacher, student, labels, lengths = of_words(teacher, student)
            loss = edge.loss(teacher, student, labels, lengths)
        result.total = result.total + weights[i] * loss
        term = f"{edge.match}/{edge.student}"
        result.terms[term] = result.terms.get(term, 0) + loss.detach()
    return result


def _add_own(
    result: Objective,
    name: str,
    outputs: Outputs,
    batch: Batch,
    training: TrainingConfig,
    head_weight: float,
) -> None:
    labels = batch.label_lengths.sum().clamp_min(1)
    encoded, predicted, lattice, _ = outputs
    losses = transducer_loss(lattice, batch.labels, training.fastemit)
    result.losses[name] = losses.detach()
    weighted = [("transducer", 1.0, losses)]
    if head_weight:
        heads = AdditiveLattice(
            encoded.logits, predicted.logits, encoded.lengths, batch.label_lengths
        )
        head_losses = transducer_loss(heads, batch.labels, training.fastemit)
        weighted.append(("heads", head_weight, head_losses))
    if training.ctc_weight:
        fits = encoded.lengths >= _frames_for_ctc(batch.labels, batch.label_lengths)
        result.too_short_for_ctc |= {
            i for i, fit in zip(batch.ids, fits.tolist(), strict=True) if not fit
        }
        ctc = _ctc_losses(encoded, batch.labels, batch.label_lengths)
        weighted.append(("ctc", training.ctc_weight, torch.where(fits, ctc, 0)))
    for term, weight, per_utterance in weighted:
        loss = per_utterance.sum() / labels
        result.total = result.total + weight * loss
        result.terms[f"{term}/{name}"] = loss.detach()


def _frames_for_ctc(labels: Tensor, lengths: Tensor) -> Tensor:
    """Frames that CTC needs: one a label, and a blank between equal ones, (B,)."""
    repeats = (labels[:, 1:] == labels[:, :-1]) & inside(lengths - 1, max(0, labels.shape[1] - 1))
    return lengths + repeats.sum(1)


def _ctc_losses(encoded: Encoded, labels: Tensor, lengths: Tensor) -> Tensor:
    return torch.nn.functional.ctc_loss(
        encoded.logits.log_softmax(-1).transpose(0, 1),
        labels,
        encoded.lengths,
        lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )

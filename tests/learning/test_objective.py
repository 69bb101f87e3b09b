"""What a batch costs: which losses are summed, and with which weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from codert.data.batches import Batch
from codert.lattice import AdditiveLattice
from codert.learning.ensemble import Ensemble
from codert.learning.objective import Objective, objective
from codert.learning.plan import Plan
from codert.transducer import transducer_loss

from ..tiny import tiny_plan

SYMBOLS = 9
HEAD_WEIGHTS = {"student": 0.5, "teacher": 0.2}


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths, labels = torch.tensor([30, 22]), torch.tensor([[1, 2, 3], [4, 4, 0]])
    return Batch(0, ["a", "b"], torch.randn(2, 30, 80), lengths, labels, torch.tensor([3, 2]))


def plan_of(settings: Path, **training: float) -> Plan:
    """Of two with MLP joints, one of whom teaches the other."""
    joints = {
        model: {"joint": {"kind": "mlp", "width": 8, "head_weight": HEAD_WEIGHTS[name]}}
        for model, name in (("small", "student"), ("large", "teacher"))
    }
    edge = {"from": "teacher", "to": "student", "match": "encoder_logits"}
    edge |= {"weight": 2.0, "schedule": {"ramp": 1.0}}  # type: ignore[dict-item]
    return tiny_plan("tandem", settings, models=joints, edges=[edge], training=training)


def without_dropout(plan: Plan, batch: Batch, progress: float = 0.5) -> tuple[Ensemble, Objective]:
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    ensemble.train(False)
    return ensemble, objective(plan, ensemble, batch, progress, (0, 0))


def test_the_total_is_the_weighted_sum_of_the_terms(settings: Path, batch: Batch) -> None:
    plan = plan_of(settings, ctc_weight=0.3)
    _, found = without_dropout(plan, batch, progress=0.25)
    weights = {"encoder_logits/student": 2 * 0.25}
    for name, head_weight in HEAD_WEIGHTS.items():
        own = {"transducer": 1.0, "heads": head_weight, "ctc": 0.3}
        weights |= {f"{term}/{name}": weight for term, weight in own.items()}
    assert found.terms.keys() == weights.keys()
    assert all(float(term) > 0 for term in found.terms.values())
    total = sum(weight * float(found.terms[term]) for term, weight in weights.items())
    assert float(found.total.detach()) == pytest.approx(total, rel=1e-5)


def test_a_recognisers_own_losses_are_per_label(settings: Path, batch: Batch) -> None:
    ensemble, found = without_dropout(plan_of(settings, ctc_weight=0.3), batch)
    student = ensemble.live["student"]
    encoded = student.encode(batch.features, batch.frame_lengths)
    predicted = student.decoder(batch.labels)
    lengths = encoded.lengths, batch.label_lengths
    heads = AdditiveLattice(encoded.logits, predicted.logits, *lengths)
    lattice = student.lattice(encoded, predicted, batch.label_lengths)
    frames = encoded.logits.log_softmax(-1).transpose(0, 1)
    summed = {
        "transducer": transducer_loss(lattice, batch.labels).sum(),
        "heads": transducer_loss(heads, batch.labels).sum(),
        "ctc": ctc_loss(frames, batch.labels, *lengths, reduction="sum"),
    }
    for term, loss in summed.items():
        per_label = loss.detach() / batch.label_lengths.sum()
        torch.testing.assert_close(found.terms[f"{term}/student"], per_label)


def test_an_additive_joint_has_no_loss_of_heads(settings: Path, batch: Batch) -> None:
    _, found = without_dropout(tiny_plan("alone", settings), batch)
    assert found.terms == {"transducer/student": found.total}


@pytest.mark.parametrize("trained_by", ["joint.output", "encoder.head"])
def test_fastemit_changes_the_gradient_and_not_the_value(
    trained_by: str, settings: Path, batch: Batch
) -> None:
    found: list[tuple[float, Tensor]] = []
    for fastemit in (0.0, 0.5):
        # Without an edge the heads' loss alone trains the heads.
        plan = replace(plan_of(settings, fastemit=fastemit), edges=())
        ensemble, cost = without_dropout(plan, batch)
        weight = ensemble.live["student"].get_submodule(trained_by).weight
        assert isinstance(weight, Tensor)
        (gradient,) = torch.autograd.grad(cost.total, weight)
        found.append((float(cost.total.detach()), gradient))
    (plain, gradient), (same, other) = found
    assert plain == same
    assert not torch.allclose(gradient, other, rtol=1e-2)


@pytest.fixture
def crowded() -> Batch:
    """Labels alike in 2 frames and in 3, a label by itself in 1, and two unlike in 2."""
    torch.manual_seed(0)
    labels = torch.tensor([[1, 1, 0], [1, 1, 0], [3, 0, 0], [1, 2, 0]])
    ids, lengths = ["alike", "alike-3", "one", "unlike"], torch.tensor([8, 12, 4, 8])
    return Batch(0, ids, torch.randn(4, 12, 80), lengths, labels, torch.tensor([2, 2, 1, 2]))


def test_who_teaches_nothing_now_does_not_listen(settings: Path, batch: Batch) -> None:
    edge = {"from": "teacher", "to": "student", "match": "lattice"}
    late = edge | {"schedule": {"start": 0.5}}
    plan = tiny_plan("mean-teacher", settings, edges=[late])
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    heard: list[str] = []
    for part in ("encoder", "decoder"):
        module = getattr(ensemble.silent["teacher"], part)
        module.register_forward_hook(lambda *_, part=part: heard.append(part))
    objective(plan, ensemble, batch, 0.4, (0, 0))
    assert heard == []
    objective(plan, ensemble, batch, 0.6, (0, 1))
    assert heard == ["encoder", "decoder"]


def test_ctc_needs_a_frame_between_equal_labels(settings: Path, crowded: Batch) -> None:
    plan = tiny_plan("alone", settings, training={"ctc_weight": 0.3})
    assert without_dropout(plan, crowded)[1].too_short_for_ctc == {"alike"}


def test_what_is_too_short_for_ctc_still_has_its_transducer_loss(
    settings: Path, crowded: Batch
) -> None:
    plan = tiny_plan("alone", settings, training={"ctc_weight": 0.3})
    found = without_dropout(plan, crowded)[1].terms["transducer/student"]
    expected = without_dropout(tiny_plan("alone", settings), crowded)[1].losses["student"]
    assert bool((expected > 0).all())
    torch.testing.assert_close(found, expected.sum() / crowded.label_lengths.sum())

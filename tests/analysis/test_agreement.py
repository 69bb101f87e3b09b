"""Agreement and delay, on alignments made by hand and against dense logits."""

import pytest
import torch
from torch import Tensor

from codert.analysis.agreement import AgreementMeter, Emissions
from codert.analysis.reading import mean_decoder_logits, read
from codert.models.joint import JointConfig

from .tiny import JOINTS, batch, dense, emissions, tiny


def said(seconds: list[float], logits: Tensor) -> Emissions:
    log_p = logits.log_softmax(-1)
    return Emissions(torch.tensor(seconds), log_p, log_p, log_p)


def test_delays_are_in_milliseconds_and_signed() -> None:
    meter = AgreementMeter("first")
    logits = torch.zeros(3, 4)
    meter.add(said([0.0, 0.2, 0.4], logits), said([0.04, 0.16, 0.52], logits))
    meter.add(said([1.0], logits[:1]), said([1.2], logits[:1]))
    found = meter.agreement()
    assert found is not None
    assert found.labels == 4
    assert found.delay_ms.mean == pytest.approx((40 - 40 + 120 + 200) / 4)
    assert found.delay_ms.quantiles[0] == pytest.approx(-40)
    assert found.delay_ms.quantiles[-1] == pytest.approx(200)
    assert found.joint.kl == pytest.approx(0)


def test_likeliest_symbols_and_divergences() -> None:
    meter = AgreementMeter("first")
    p, q = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]]), torch.full((2, 3), 1 / 3)
    q[0, 0], q[0, 1] = 0.5, 1 / 6
    meter.add(said([0, 1], p.log()), said([0, 1], q.log()))
    found = meter.agreement()
    assert found is not None
    assert found.as_trained.top == 50
    by_hand = [
        0.25 * torch.log(torch.tensor(0.25 / (1 / 6))) + 0.25 * torch.log(torch.tensor(0.75)),
        0.1 * torch.log(torch.tensor(0.3)) + 0.9 * torch.log(torch.tensor(2.7)),
    ]
    assert found.as_trained.kl == pytest.approx(float(sum(by_hand)) / 2)


def test_nothing_compared_is_no_agreement() -> None:
    assert AgreementMeter("first").agreement() is None
    meter = AgreementMeter("first")
    meter.add(said([], torch.zeros(0, 3)), said([], torch.zeros(0, 3)))
    assert meter.agreement() is None


@pytest.mark.parametrize("joint", JOINTS, ids=lambda joint: joint.kind)
def test_a_recogniser_is_read_where_it_emits_itself(joint: JointConfig) -> None:
    recogniser, inputs = tiny(joint, 1), batch(3)
    moved = mean_decoder_logits(recogniser, [inputs[2:]])
    for b, reading in enumerate(read(recogniser, *inputs)):
        found = Emissions.of(reading, moved, 0.02)
        frames, positions = emissions(recogniser, inputs, b), list(range(len(reading.labels)))
        logits = dense(recogniser, inputs, b)
        torch.testing.assert_close(found.as_trained, logits.encoder[frames].log_softmax(-1))
        torch.testing.assert_close(found.centred, (logits.encoder[frames] + moved).log_softmax(-1))
        torch.testing.assert_close(found.joint, logits.joint[frames, positions].log_softmax(-1))
        torch.testing.assert_close(found.said, torch.tensor(frames) * 0.02)


def test_who_is_late_agrees_as_far_as_it_says_the_same() -> None:
    reading = read(tiny(JOINTS[0]), *batch())[0]
    at_once, later = (Emissions.of(reading, torch.zeros(7), 0.04, ahead) for ahead in (0, 3))
    meter = AgreementMeter("first")
    meter.add(at_once, later)
    found = meter.agreement()
    assert found is not None
    assert found.delay_ms.mean == pytest.approx(120)
    for match in (found.as_trained, found.centred, found.joint):
        assert match.top == 100
        assert match.kl == pytest.approx(0, abs=1e-6)

"""Entropies against all logits, made one by one in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from codert.analysis.distribution import Distribution
from codert.analysis.entropy import Entropies, EntropyMeter
from codert.analysis.reading import mean_decoder_logits, read
from codert.errors import InputError
from codert.models import Recogniser

from .tiny import JOINTS, V, batch, dense, emissions, tiny


@pytest.fixture(params=JOINTS, ids=lambda joint: joint.kind)
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    return tiny(request.param)


def dense_entropy(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def passes(joint: Tensor, labels: list[int]) -> Tensor:
    """The share of alignments through each cell, over all alignments one by one."""
    log_p = joint.log_softmax(-1)
    T, U = len(joint), len(labels)
    node, total = torch.zeros(T, U + 1, dtype=joint.dtype), 0.0
    for emitted_at in itertools.combinations_with_replacement(range(T), U):
        u, weight, cells = 0, 0.0, []
        for t in range(T):
            for _ in range(emitted_at.count(t)):
                cells.append((t, u))
                weight += float(log_p[t, u, labels[u]])
                u += 1
            cells.append((t, u))
            weight += float(log_p[t, u, 0])
        total += math.exp(weight)
        for cell in cells:
            node[cell] += math.exp(weight)
    return node / total


def mean_of_decoder(recogniser: Recogniser, *seeds: int) -> Tensor:
    return mean_decoder_logits(recogniser, [batch(seed)[2:] for seed in seeds])


@pytest.mark.parametrize("centred", [False, True])
def test_every_entropy_is_that_of_the_dense_logits(recogniser: Recogniser, centred: bool) -> None:
    inputs = batch()
    moved = mean_of_decoder(recogniser, 0) if centred else torch.zeros(V)
    for b, reading in enumerate(read(recogniser, *inputs)):
        found, logits = Entropies.of(reading, moved), dense(recogniser, inputs, b)
        torch.testing.assert_close(found.encoder, dense_entropy(logits.encoder + moved))
        torch.testing.assert_close(found.decoder, dense_entropy(logits.decoder - moved))
        torch.testing.assert_close(found.joint, dense_entropy(logits.joint))
        torch.testing.assert_close(found.occupancy, passes(logits.joint, logits.labels))


def test_over_time_only_passed_cells_count(recogniser: Recogniser) -> None:
    for found in map(Entropies.of, read(recogniser, *batch())):
        share = found.occupancy / found.occupancy.sum(1, keepdim=True)
        torch.testing.assert_close(found.joint_by_frame, (share * found.joint).sum(1))
        torch.testing.assert_close(found.decoder_by_frame, (share * found.decoder).sum(1))
        assert found.joint_by_frame.shape == found.encoder.shape


def test_cells_are_those_of_the_best_path() -> None:
    emitted = torch.tensor([1, 1, 4])
    found = Entropies(
        torch.rand(6), torch.rand(4), torch.rand(6, 4), torch.rand(6, 4), emitted=emitted
    )
    assert [x.tolist() for x in found.label_cells] == [[1, 1, 4], [0, 1, 2]]
    assert [x.tolist() for x in found.blank_cells] == [[0, 2, 3, 5], [0, 2, 2, 3]]
    at = found.at(found.blank_cells)
    assert at["joint"].tolist() == pytest.approx(
        [float(found.joint[t, u]) for t, u in ((0, 0), (2, 2), (3, 2), (5, 3))]
    )


def test_mean_decoder_logits_are_over_real_positions_of_all_batches(
    recogniser: Recogniser,
) -> None:
    positions = torch.cat(
        [dense(recogniser, batch(seed), b).decoder for seed in (1, 2) for b in range(2)]
    )
    torch.testing.assert_close(mean_of_decoder(recogniser, 1, 2), positions.mean(0))


@pytest.mark.parametrize("centred", [False, True])
def test_summary_is_that_of_the_dense_logits(recogniser: Recogniser, centred: bool) -> None:
    moved = mean_of_decoder(recogniser, 1, 2) if centred else torch.zeros(V)
    meter = EntropyMeter(moved if centred else None)
    frames, blank, emitting, joint, weights = [], [], [], [], []
    mass: dict[str, list[tuple[float, float, float]]] = {"encoder": [], "joint": []}
    for inputs in (batch(1), batch(2)):
        for b, reading in enumerate(read(recogniser, *inputs)):
            meter.add(reading, "a")
            logits = dense(recogniser, inputs, b)
            encoder, cells = logits.encoder + moved, logits.joint
            emitted = emissions(recogniser, inputs, b)
            frames += dense_entropy(encoder).tolist()
            blank += [
                float(dense_entropy(cells[t, sum(x < t for x in emitted)]))
                for t in range(len(cells))
                if t not in emitted
            ]
            emitting += [float(dense_entropy(cells[t, u])) for u, t in enumerate(emitted)]
            joint += dense_entropy(cells).flatten().tolist()
            weights += passes(cells, logits.labels).flatten().tolist()
            for u, t in enumerate(emitted):
                for name, p in (("encoder", encoder[t]), ("joint", cells[t, u])):
                    q = p.softmax(-1)
                    own, none = float(q[logits.labels[u]]), float(q[0])
                    mass[name].append((own, none, 1 - own - none))
    found = meter.summary()
    assert found.encoder.all.mean == pytest.approx(np.mean(frames))
    assert found.encoder.all.count == len(frames)
    assert found.joint.all.mean == pytest.approx(np.average(joint, weights=weights))
    assert found.joint.blank is not None
    assert found.joint.emitting is not None
    assert found.joint.blank.mean == pytest.approx(np.mean(blank))
    assert found.joint.emitting.mean == pytest.approx(np.mean(emitting))
    for name, masses in (("encoder", found.encoder_mass), ("joint", found.joint_mass)):
        assert masses is not None
        assert (masses.label, masses.blank, masses.rivals) == pytest.approx(
            tuple(np.mean(mass[name], 0))
        )
    assert found.uniform == pytest.approx(math.log(V))


def test_suppression_is_between_the_same_cells(recogniser: Recogniser) -> None:
    meter, measured = EntropyMeter(), []
    for inputs in (batch(1), batch(2)):
        for reading in read(recogniser, *inputs):
            meter.add(reading, "a")
            measured.append(Entropies.of(reading))
    below = meter.summary().joint_below_encoder
    encoder = np.concatenate([x.encoder.numpy() for x in measured])
    joint = np.concatenate([x.joint_by_frame.numpy() for x in measured])
    assert below.all.mean == pytest.approx(np.mean(encoder - joint))
    assert below.all.share == pytest.approx(1 - joint.mean() / encoder.mean())
    assert below.all.low is not None
    assert below.all.high is not None
    assert below.all.low <= below.all.mean <= below.all.high
    pairs = [x.at(x.label_cells) for x in measured]
    emitting = np.concatenate([p["encoder"] - p["joint"] for p in pairs])
    assert below.emitting is not None
    assert below.emitting.mean == pytest.approx(emitting.mean())


def test_what_a_speaker_says_again_makes_no_interval_narrower(recogniser: Recogniser) -> None:
    once, again = EntropyMeter(), EntropyMeter()
    for inputs in (batch(1), batch(2)):
        for i, reading in enumerate(read(recogniser, *inputs)):
            once.add(reading, str(i))
            for _ in range(5):
                again.add(reading, str(i))
    for name in ("joint_below_encoder", "decoder_below_encoder"):
        for part in ("all", "blank", "emitting"):
            a, b = (getattr(getattr(m.summary(), name), part) for m in (once, again))
            assert (a.low, a.high) == pytest.approx((b.low, b.high))
            assert a.low < a.high


def test_rare_cells_are_left_out_of_quantiles_alone() -> None:
    reading = read(tiny(JOINTS[0]), *batch())[0]
    meter = EntropyMeter()
    meter.add(reading, "a")
    everything = Distribution.of(
        reading.joint_entropy.flatten().numpy(), reading.occupancy.flatten().numpy()
    )
    found = meter.summary().joint.all
    assert found.mean == pytest.approx(everything.mean)
    assert found.quantiles[1:-1] == pytest.approx(everything.quantiles[1:-1])


def test_an_utterance_without_labels_is_all_blank() -> None:
    features, frame_lengths, _, _ = batch()
    nothing = torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, dtype=torch.long)
    meter = EntropyMeter()
    for reading in read(tiny(JOINTS[0]), features, frame_lengths, *nothing):
        assert reading.aligned
        meter.add(reading, "a")
    found = meter.summary()
    assert found.joint.emitting is None
    assert found.encoder_mass is None
    assert found.joint.blank is not None
    assert found.joint.blank.mean == pytest.approx(found.joint.all.mean)


def test_what_cannot_be_aligned_says_so() -> None:
    features, frame_lengths, labels, label_lengths = batch()
    broken = features.clone()
    broken[1] = torch.nan
    fine, lost = read(tiny(JOINTS[0]), broken, frame_lengths, labels, label_lengths)
    assert fine.aligned
    assert not lost.aligned


def test_means_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no utterance can be aligned"):
        EntropyMeter().summary()

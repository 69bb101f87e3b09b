import numpy as np
import pytest
import torch

from codert.analysis.confusions import Confusions
from codert.analysis.reading import mean_decoder_logits, read

from .tiny import JOINTS, V, batch, dense, emissions, tiny

SYMBOLS = ["<blk>", "<unk>", "▁A", "▁B", "C", "D", "E"]
PHONES = {2: ("eɪ",), 3: ("b", "iː"), 4: ("s",), 5: ("d",)}


@pytest.mark.parametrize("centred", [False, True])
def test_means_are_those_of_the_dense_logits(centred: bool) -> None:
    recogniser = tiny(JOINTS[0])
    moved = mean_decoder_logits(recogniser, [batch(seed)[2:] for seed in (1, 2)])
    found = Confusions(V, moved if centred else None)
    sums, counts = np.zeros((V, V)), np.zeros(V)
    for inputs in (batch(1), batch(2)):
        for b, reading in enumerate(read(recogniser, *inputs)):
            found.add(reading)
            logits = dense(recogniser, inputs, b)
            encoder = logits.encoder + (moved if centred else 0)
            for label, frame in zip(logits.labels, emissions(recogniser, inputs, b), strict=True):
                sums[label] += encoder[frame].softmax(-1).numpy()
                counts[label] += 1
    assert found.counts.tolist() == counts.tolist()
    np.testing.assert_allclose(found.matrix, sums / np.maximum(counts, 1)[:, None])


def test_rivals_are_neither_the_label_nor_blank_and_come_in_order() -> None:
    found = Confusions(V)
    for reading in read(tiny(JOINTS[0]), *batch()):
        found.add(reading)
    rows = found.table(SYMBOLS, PHONES)
    assert [row.count for row in rows] == sorted((row.count for row in rows), reverse=True)
    for row in rows:
        names = [rival.piece for rival in row.rivals]
        assert row.piece not in names
        assert "<blk>" not in names
        p = [rival.probability for rival in row.rivals]
        assert p == sorted(p, reverse=True)
        label = SYMBOLS.index(row.piece)
        for rival in row.rivals:
            known = label in PHONES and SYMBOLS.index(rival.piece) in PHONES
            assert (rival.distance is not None) == known
        assert (row.phones is not None) == (label in PHONES)


def test_labels_never_emitted_have_no_row() -> None:
    assert Confusions(V).table(SYMBOLS, {}) == ()
    assert torch.equal(torch.tensor(Confusions(V).matrix), torch.zeros(V, V).double())

"""Greedy decoding: seconds of audio that one thread transcribes in a second.

    python benchmarks/decoding.py --json -

From features to labels, encoder included. The recognisers have random weights; a constant is
added to their blank logit such that they say about four labels a second, as people say
word-pieces. The reference looks at one cell after the other; every label must be equal.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from codert.decoding import greedy
from codert.lattice import BLANK
from codert.learning.recipe import read_plan
from codert.models.recogniser import Encoded, Recogniser
from measure import Case, Options, Row, main, measured, rounded, say

RECIPE = Path(__file__).parents[1] / "recipes" / "tandem.yaml"
BATCHES = (1, 8, 64)
SECONDS, RATE, SYMBOLS = 10, 100, 500  # of audio; of features; word-pieces
LABELS_A_SECOND = 4.0


def one(case: Case) -> Row:
    """Audio seconds a second of one recogniser at one batch size, and of its reference."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plan = read_plan(RECIPE)
    F, B, device = plan.features.mels, case["batch"], case["device"]
    recogniser = Recogniser.build(plan.models[case["model"]], F, SYMBOLS).eval().to(device)
    features = torch.randn(B, SECONDS * RATE, F).to(device)
    lengths = torch.full((B,), SECONDS * RATE, device=device)
    with torch.no_grad():
        _make_talk(recogniser, recogniser.encode(features[:8], lengths[:8]))
        encoded = recogniser.encode(features, lengths)
    hypotheses = greedy(recogniser, encoded)
    start = time.perf_counter()
    expected = [_cell_by_cell(recogniser, frames) for frames in encoded.joint]
    reference = time.perf_counter() - start
    if hypotheses != expected:
        raise SystemExit(f"{dict(case)}: greedy decoding differs from its reference")

    def whole() -> list[list[int]]:
        with torch.no_grad():
            return greedy(recogniser, recogniser.encode(features, lengths))

    search = measured(lambda: greedy(recogniser, encoded), device, budget=3)
    found = measured(whole, device, budget=3)
    return {
        "labels_per_second": rounded(sum(map(len, hypotheses)) / (B * SECONDS)),
        "seconds": rounded(found.seconds),
        "search_seconds": rounded(search.seconds),
        "reference_search_seconds": rounded(reference),
        "peak_mb": rounded(found.peak_mb),
        "audio_seconds_per_second": rounded(B * SECONDS / found.seconds),
        "ratio_time": rounded(reference / search.seconds),
    }


def collect(options: Options, measure: Callable[[Case], Row]) -> list[Row]:
    """A row per model and batch size."""
    rows = []
    for model in ("small",) if options.short else ("small", "large"):
        for batch in BATCHES:
            case = {"model": model, "batch": batch}
            rows.append({**case, **measure(case)})
            say(rows[-1])
    return rows


@torch.no_grad()
def _make_talk(recogniser: Recogniser, encoded: Encoded) -> None:
    """Move the blank's bias until `encoded`'s utterances have the labels a second wanted."""
    bias: Tensor = recogniser.encoder.projection.bias  # (V,), the joint is additive
    low, high, wanted = -20.0, 20.0, LABELS_A_SECOND * SECONDS * len(encoded.lengths)
    for _ in range(20):
        middle = (low + high) / 2
        joint = encoded.joint.clone()
        joint[..., BLANK] += middle
        said = sum(map(len, greedy(recogniser, encoded._replace(joint=joint))))
        low, high = (middle, high) if said > wanted else (low, middle)
    bias[BLANK] += high


@torch.no_grad()
def _cell_by_cell(recogniser: Recogniser, frames: Tensor, most: int = 10) -> list[int]:
    """The textbook's loop over one utterance, (T, J)."""
    decoder_part, hypothesis = recogniser.decoder, []
    state = decoder_part.predictor.initial_state(1, frames.device)
    decoder, state = decoder_part.step(torch.tensor([BLANK], device=frames.device), state)
    for frame in frames:
        for _ in range(most):
            label = recogniser.joint.logits(frame, decoder[0]).argmax()
            if label == BLANK:
                break
            hypothesis.append(int(label))
            decoder, state = decoder_part.step(label[None], state)
    return hypothesis


if __name__ == "__main__":
    main(__doc__.splitlines()[0], __file__, one, collect)

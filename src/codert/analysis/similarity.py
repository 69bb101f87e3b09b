"""Whether what is confused sounds alike.

Source: Mantel, "The detection of disease clustering and a generalized regression approach" (Cancer
Research 1967): two matrices over the same things are compared, and one of them is permuted as a
whole, rows and columns together, because its entries are not independent of each other. Here
things are exchanged only within groups that are alike in length and frequency, so neither of the
two can make the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kaldialign import edit_distance

from codert.analysis.distribution import Numbers
from codert.analysis.pronunciation import Phones

# Pieces of a group; with fewer there is little to exchange, with more they are less alike.
_GROUP = 6
# Labels emitted, below which a piece's rivals say little.
_LEAST = 3


@dataclass(frozen=True)
class Similarity:
    """Whether the rivals of word-pieces are pronounced like them.

    Attributes:
        pieces: n, word-pieces that have a pronunciation and rivals.
        distance: the mean phone edit distance to a piece's rivals, by their probability, as a
            share of the longer pronunciation; 0 is the same, 1 has nothing in common.
        matched: the same where pronunciations are exchanged among pieces of about the same
            length and frequency; what chance gives.
        p: one-sided, for rivals being no nearer than such pieces.
    """

    pieces: int
    distance: float
    matched: float
    p: float


def phone_distance(first: Phones, second: Phones) -> float:
    """The edit distance as a share of the longer one's length."""
    return int(edit_distance(first, second)["total"]) / max(len(first), len(second), 1)


def similarity(
    rivals: Numbers,
    counts: Sequence[int],
    phones: Mapping[int, Phones],
    *,
    samples: int = 2_000,
    seed: int = 0,
) -> Similarity | None:
    """Compare the probability of rivals with how near their pronunciations are.

    Args:
        rivals: the mean probability of each symbol where a piece is emitted, (V, V); the
            diagonal is not read.
        counts: how often each piece is emitted, V.
        phones: of pieces by id; the others are left out.
        samples: permutations.
        seed: of the permutations.

    Returns:
        None where fewer than three pieces can be compared.
    """
    ids = np.array([i for i in sorted(phones) if counts[i] > 0], dtype=np.int64)
    weights = rivals[np.ix_(ids, ids)] if len(ids) else np.zeros((0, 0))
    weights = weights * (1 - np.eye(len(ids)))
    heard = np.array([counts[i] >= _LEAST for i in ids], dtype=bool)
    mass = weights.sum(1)
    used = heard & (mass > 0)
    if used.sum() < 3:
        return None
    # Each piece counts the same, however much its rivals have.
    weights = np.where(used[:, None], weights / np.where(mass > 0, mass, 1)[:, None], 0)
    distances = np.array([[phone_distance(phones[i], phones[j]) for j in ids] for i in ids])
    groups = grouped([len(phones[i]) for i in ids], [counts[i] for i in ids])
    distance, matched, p = mantel(weights / used.sum(), distances, groups, samples, seed)
    return Similarity(int(used.sum()), distance, matched, p)


def grouped(lengths: Sequence[int], counts: Sequence[int]) -> list[np.ndarray]:
    """Indices in groups of about `_GROUP`, alike in length and, among these, in frequency."""
    lengths_, counts_ = np.asarray(lengths), np.asarray(counts)
    bands: list[list[int]] = [[]]
    for length in np.unique(lengths_):
        if len(bands[-1]) >= _GROUP:
            bands.append([])
        bands[-1] += np.flatnonzero(lengths_ == length).tolist()
    if len(bands) > 1 and len(bands[-1]) < _GROUP:
        few = bands.pop()
        bands[-1] += few
    return [
        part
        for band in map(np.array, bands)
        for part in np.array_split(
            band[np.argsort(-counts_[band], kind="stable")], max(1, len(band) // _GROUP)
        )
    ]


def mantel(
    weights: Numbers,
    distances: Numbers,
    groups: Sequence[np.ndarray],
    samples: int = 2_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Whether large weights go with small distances: the sum of both, its mean by chance, p.

    Args:
        weights: (N, N).
        distances: (N, N).
        groups: within which the things are exchanged; together all N.
        samples: permutations.
        seed: of the permutations.

    Returns:
        The sum of weights times distances; its mean over permutations; the one-sided p of its
        being as small, in (0, 1]: one is added to count and samples.
    """
    generator = np.random.default_rng(seed)
    observed = float((weights * distances).sum())
    order = np.arange(len(weights))
    sums = np.empty(samples)
    for i in range(samples):
        for group in groups:
            order[group] = generator.permutation(group)
        sums[i] = (weights * distances[np.ix_(order, order)]).sum()
    as_small = int((sums <= observed + 1e-12).sum())
    return observed, float(sums.mean()), (1 + as_small) / (1 + samples)

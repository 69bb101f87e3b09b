"""The affinity of two additive lattices at every cell, in the memory of one.

P^alpha Q^(1 - alpha) is an additive lattice too, but for its normaliser: that of the mixed
logits. So three normalisers give the sum of it over all V symbols.
"""

from torch import Tensor

from codert.lattice.additive import AdditiveLattice, refuse_other_shape


def log_affinity(p: AdditiveLattice, q: AdditiveLattice, alpha: float) -> Tensor:
    """log sum_v P(v)^alpha Q(v)^(1 - alpha) at each cell, (B, T, U+1), with gradients to both.

    Args:
        p: of (B, T, U+1, V).
        q: of the same shape.
        alpha: between 0 and 1.

    Raises:
        ValueError: lattices of different shapes.
    """
    refuse_other_shape(p, q)
    p, q = _below_maxima(p), _below_maxima(q)
    mixed = AdditiveLattice(
        alpha * p.encoder_logits + (1 - alpha) * q.encoder_logits,
        alpha * p.decoder_logits + (1 - alpha) * q.decoder_logits,
        p.frame_lengths,
        p.label_lengths,
    )
    apart = alpha * p.log_normaliser() + (1 - alpha) * q.log_normaliser()
    return mixed.log_normaliser() - apart


def _below_maxima(lattice: AdditiveLattice) -> AdditiveLattice:
    """The same lattice with its largest logits at 0, so that large ones do not cancel."""

    def below(x: Tensor) -> Tensor:
        return x - x.detach().amax(-1, keepdim=True)

    lengths = lattice.frame_lengths, lattice.label_lengths
    return AdditiveLattice(below(lattice.encoder_logits), below(lattice.decoder_logits), *lengths)

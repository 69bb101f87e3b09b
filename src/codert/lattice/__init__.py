"""The lattice of a transducer: P(v | t, u) on a grid of T frames by U + 1 label positions.

Everything in codert compares or sums lattices. A lattice answers its questions without ever
holding its T x U x V logits: the log-probabilities of blank and of the next label at each
cell, the entropy of each cell, and how far each cell is from that of another lattice.
"""

from codert.lattice.additive import AdditiveLattice
from codert.lattice.affinity import log_affinity
from codert.lattice.cells import (
    BLANK,
    Lattice,
    Scores,
    full_precision,
    inside,
    refuse_second_derivatives,
)
from codert.lattice.mlp import Activation, MLPLattice
from codert.lattice.relative_entropy import relative_entropy
from codert.lattice.squared_distance import squared_distance

__all__ = [
    "BLANK",
    "Activation",
    "AdditiveLattice",
    "Lattice",
    "MLPLattice",
    "Scores",
    "full_precision",
    "inside",
    "log_affinity",
    "refuse_second_derivatives",
    "relative_entropy",
    "squared_distance",
]

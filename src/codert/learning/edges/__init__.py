"""Edges of the plan: what one recogniser is taught by another, a class for each thing matched."""

from codert.learning.edges.edge import BaseEdge, Rates
from codert.learning.edges.hidden import HiddenEdge
from codert.learning.edges.lattice import CollapsedEdge, LatticeEdge, PathPosteriorEdge
from codert.learning.edges.logits import DecoderLogitEdge, EncoderLogitEdge
from codert.learning.edges.sequence import SequenceEdge
from codert.learning.edges.written import of_words

Edge = (
    EncoderLogitEdge
    | DecoderLogitEdge
    | HiddenEdge
    | LatticeEdge
    | CollapsedEdge
    | PathPosteriorEdge
    | SequenceEdge
)

__all__ = [
    "BaseEdge",
    "CollapsedEdge",
    "DecoderLogitEdge",
    "Edge",
    "EncoderLogitEdge",
    "HiddenEdge",
    "LatticeEdge",
    "PathPosteriorEdge",
    "Rates",
    "SequenceEdge",
    "of_words",
]

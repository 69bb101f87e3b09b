"""The transducer's exact full-sum loss, its occupancies and its best path, for any lattice."""

from codert.transducer.best_path import best_path
from codert.transducer.loss import Occupancies, occupancies, transducer_loss
from codert.transducer.path_relative_entropy import path_relative_entropy

__all__ = [
    "Occupancies",
    "best_path",
    "occupancies",
    "path_relative_entropy",
    "transducer_loss",
]

"""The transducer's exact full-sum loss, its occupancies and its best path, for any lattice."""

from codert.transducer.best_path import best_path
from codert.transducer.loss import Occupancies, occupancies, transducer_loss

__all__ = ["Occupancies", "best_path", "occupancies", "transducer_loss"]

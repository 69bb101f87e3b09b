"""The transducer's exact full-sum loss and its occupancies, for any lattice."""

from codert.transducer.loss import Occupancies, occupancies, transducer_loss

__all__ = ["Occupancies", "occupancies", "transducer_loss"]

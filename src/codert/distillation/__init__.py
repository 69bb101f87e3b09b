"""What a student can be taught: the terms that distillation adds to the transducer loss."""

from codert.distillation.divergences import DIVERGENCES, Divergence
from codert.distillation.encoder_logits import encoder_logit_loss
from codert.distillation.gauge import centred
from codert.distillation.lattice import Cells, lattice_loss

__all__ = [
    "DIVERGENCES",
    "Cells",
    "Divergence",
    "centred",
    "encoder_logit_loss",
    "lattice_loss",
]

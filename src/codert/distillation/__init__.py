"""What a student can be taught: the terms that distillation adds to the transducer loss."""

from codert.distillation.cells import Cells, cell_weights, check_cells
from codert.distillation.divergences import (
    DIVERGENCES,
    Divergence,
    OfProbabilities,
    check_divergence,
    compare,
)
from codert.distillation.frames import Frames
from codert.distillation.gauge import centred, centred_decoder
from codert.distillation.hidden import Distance, hidden_loss
from codert.distillation.lattice import collapsed_loss, lattice_loss
from codert.distillation.logits import decoder_logit_loss, encoder_logit_loss
from codert.distillation.path_posterior import OfPaths, path_posterior_loss
from codert.distillation.sequence import sequence_loss

__all__ = [
    "DIVERGENCES",
    "Cells",
    "Distance",
    "Divergence",
    "Frames",
    "OfPaths",
    "OfProbabilities",
    "cell_weights",
    "centred",
    "centred_decoder",
    "check_cells",
    "check_divergence",
    "collapsed_loss",
    "compare",
    "decoder_logit_loss",
    "encoder_logit_loss",
    "hidden_loss",
    "lattice_loss",
    "path_posterior_loss",
    "sequence_loss",
]

"""What a student can be taught: the terms that distillation adds to the transducer loss."""

from codert.distillation.divergences import DIVERGENCES, Divergence
from codert.distillation.encoder_logits import encoder_logit_loss
from codert.distillation.gauge import centred

__all__ = ["DIVERGENCES", "Divergence", "centred", "encoder_logit_loss"]

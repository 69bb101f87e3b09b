"""The gauge of an additive joint.

(e + c, d - c) is the same joint for any vector c, so the transducer loss alone does not fix
the encoder logits; see docs/gauge.md.
"""

from torch import Tensor

from codert.lattice import inside


def centred(encoder_logits: Tensor, decoder_logits: Tensor, label_lengths: Tensor) -> Tensor:
    """Encoder logits with the batch's mean decoder logits moved into them.

    Two recognisers with decoders of their own are compared fairly in this gauge.

    Args:
        encoder_logits: (B, T, V).
        decoder_logits: (B, U+1, V); what lies behind a label length is not read.
        label_lengths: (B,).

    Returns:
        (B, T, V).
    """
    return encoder_logits + _mean(decoder_logits, label_lengths)


def centred_decoder(decoder_logits: Tensor, label_lengths: Tensor) -> Tensor:
    """What `centred` leaves of the decoder logits: these less the batch's mean, (B, U+1, V)."""
    return decoder_logits - _mean(decoder_logits, label_lengths)


def _mean(decoder_logits: Tensor, label_lengths: Tensor) -> Tensor:
    real = inside(label_lengths.to(decoder_logits.device) + 1, decoder_logits.shape[1])
    return decoder_logits[real].mean(0)

"""The forward-backward recursion over a lattice's arcs, in the form that its device runs best.

`recursion_torch` runs anywhere and is the reference of the compiled ones: numba's on a CPU,
Triton's on a GPU, each where its package is installed.
"""

import importlib
import importlib.util

from torch import Tensor

# The form for a device's type, where its package is installed.
_FORMS = {
    device: package
    for device, package in (("cpu", "numba"), ("cuda", "triton"))
    if importlib.util.find_spec(package)
}


def forward_backward(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-likelihood of each utterance and the occupancies of its arcs.

    Args:
        blank: log P(blank | t, u), (B, T, U+1).
        label: log P(y[u+1] | t, u), (B, T, U).
        frame_lengths: (B,).
        label_lengths: (B,).

    Returns:
        Log-likelihoods (B,), -inf where no alignment is possible; blank occupancies
        (B, T, U+1); label occupancies (B, T, U), both 0 there and in the padding.
    """
    form = importlib.import_module(
        f"codert.transducer.recursion_{_FORMS.get(blank.device.type, 'torch')}"
    )
    result: tuple[Tensor, Tensor, Tensor] = form.forward_backward(
        blank, label, frame_lengths, label_lengths
    )
    return result

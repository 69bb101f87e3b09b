"""What a teacher writes of speech that has no transcript, and what is said of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from codert.decoding import greedy
from codert.lattice import BLANK
from codert.models.recogniser import Outputs


def written(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """The likeliest symbol at each cell on the way: labels (B, U) and their lengths (B,)."""
    with inference(outputs.recogniser.decoder):
        found = greedy(outputs.recogniser, outputs.encoded)
    return padded(found, outputs.encoded.joint.device)


def of_words(teacher: Outputs, student: Outputs) -> tuple[Outputs, Outputs, Tensor, Tensor]:
    """What both say of the teacher's words; these words, (B, U), and their lengths, (B,)."""
    labels, lengths = written(teacher)
    heard = teacher.recogniser.decoder(labels)
    # A decoder that both share runs once, so that both have what dropout left of it.
    shared = student.shares_decoder_with(teacher)
    own = heard if shared else student.recogniser.decoder(labels)
    return teacher.of(heard, lengths), student.of(own, lengths), labels, lengths


def padded(labels: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Lists of labels as (H, U), behind their ends blanks, and their lengths (H,)."""
    rows = [torch.tensor(each, dtype=torch.long) for each in labels]
    lengths = torch.tensor([len(each) for each in labels], device=device)
    return pad_sequence(rows, True, BLANK).to(device), lengths


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Inside, a module drops nothing; after, each part of it is in the mode that it was in."""
    training = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in training:
            each.training = mode

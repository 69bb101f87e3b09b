"""What docs/use-in-your-loop.md shows, on tensors as the toolkits have them.

None of the toolkits is installed: their modules and batches are stood in for by the shapes,
layouts and names that they have.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.testing import assert_close

from codert.lattice import inside

from .core.brute_force import Case, dense_loss, visits

PAGE = (Path(__file__).parents[1] / "docs" / "use-in-your-loop.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (\w+)$.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
B, T, U, V = 3, 7, 4, 6  # V symbols, blank included
FRAMES, LABELS = torch.tensor([7, 4, 5]), torch.tensor([2, 4, 3])


class Dense(Case):
    """A case of given logits, blank first, (B, T, U+1, V)."""

    def logits(self, *leaves: Tensor) -> Tensor:
        return (leaves or self.leaves)[0]


def dense(logits: Tensor, labels: Tensor) -> Dense:
    return Dense("any", (logits.detach(),), labels, FRAMES, LABELS)


def mean_kl(teacher: Tensor, student: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of KL(teacher || student) between probabilities, (B, T, ..., V).

    The student is two frames late, as in the examples.
    """
    teacher, student, weights = teacher[:, :-2], student[:, 2:], weights[:, :-2]
    weights = weights * inside(FRAMES - 2, T - 2).view(B, T - 2, *[1] * (weights.dim() - 2))
    ratio = torch.where(teacher > 0, teacher / student, 1).log()
    return ((teacher * ratio).sum(-1) * weights).sum() / weights.sum()


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def function(toolkit: str) -> Any:
    """What the example defines."""
    names: dict[str, Any] = {}
    exec(EXAMPLES[toolkit], names)
    (name,) = re.findall(r"^def (\w+)", EXAMPLES[toolkit], re.MULTILINE)
    return names[name]


def assert_teaches_the_student_alone(loss: Tensor, student: nn.Module, teacher: nn.Module) -> None:
    assert bool(loss.isfinite())
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    for name, p in student.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name
    assert any(bool((p.grad != 0).any()) for p in student.parameters() if p.grad is not None)


def test_there_is_an_example_for_each_toolkit_and_it_is_short() -> None:
    assert EXAMPLES.keys() == {"SpeechBrain", "icefall", "NeMo"}
    for code in EXAMPLES.values():
        assert len(code.splitlines()) <= 15


def test_speechbrain() -> None:
    def modules(width: int) -> nn.ModuleDict:
        heads = {"proj_ctc": nn.Linear(width, V), "dec_lin": nn.Linear(width, V, bias=False)}
        return nn.ModuleDict(heads)

    student, teacher = modules(5), modules(8)
    x, h = torch.randn(B, T, 5), torch.randn(B, U + 1, 5)  # of proj_enc and proj_dec
    x_teacher = torch.randn(B, T, 8)
    tokens = torch.randint(1, V, (B, U)).masked_fill(~inside(LABELS, U), 0)
    lengths = (FRAMES / T).float(), (LABELS / U).float()  # shares of the longest
    compute = function("SpeechBrain")
    loss = compute(student, teacher, x, h, x_teacher, lengths[0], tokens, lengths[1])

    e, d = student["proj_ctc"](x), student["dec_lin"](h)
    own = dense_loss(dense(e[:, :, None] + d[:, None], tokens))
    p, q = teacher["proj_ctc"](x_teacher).softmax(-1), e.softmax(-1)
    assert_close(loss, own.mean() + mean_kl(p, q, inside(FRAMES, T)))
    assert_teaches_the_student_alone(loss, student, teacher)


class Ragged:
    """What a k2.RaggedTensor of two axes, utterances and labels, is asked here."""

    def __init__(self, rows: list[Tensor]) -> None:
        self.rows = rows
        splits = torch.tensor([0, *map(len, rows)]).cumsum(0).int()
        self.shape = SimpleNamespace(row_splits={1: splits}.__getitem__)

    def pad(self, mode: str, padding_value: int) -> Tensor:
        assert mode == "constant"
        return pad_sequence(self.rows, batch_first=True, padding_value=padding_value)


def test_icefall() -> None:
    def model(encoder_dim: int, decoder_dim: int) -> nn.Module:
        heads = {
            "simple_am_proj": nn.Linear(encoder_dim, V),
            "simple_lm_proj": nn.Linear(decoder_dim, V),
        }
        return nn.ModuleDict(heads)

    def outputs(encoder_dim: int, decoder_dim: int) -> tuple[Tensor, Tensor]:
        return torch.randn(B, T, encoder_dim), torch.randn(B, U + 1, decoder_dim)

    student, teacher = model(5, 4), model(8, 7)
    (encoder_out, decoder_out), taught = outputs(5, 4), outputs(8, 7)
    y = Ragged([torch.randint(1, V, (n,)).int() for n in LABELS.tolist()])
    forward = function("icefall")
    loss = forward(student, teacher, encoder_out, FRAMES.int(), decoder_out, taught, y)

    def logits(of: nn.Module, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        am, lm = of.simple_am_proj(encoder_out), of.simple_lm_proj(decoder_out)  # type: ignore[operator]
        joint: Tensor = am.unsqueeze(2) + lm.unsqueeze(1)
        return joint

    labels = y.pad("constant", 0).long()
    p, q = logits(teacher, *taught), logits(student, encoder_out, decoder_out)
    expected = mean_kl(p.softmax(-1), q.softmax(-1), visits(dense(p, labels)))
    assert_close(loss, expected * LABELS.sum())
    assert_teaches_the_student_alone(loss, student, teacher)


class RNNTJoint(nn.Module):
    """NeMo's joint by its names; blank is the last of its symbols."""

    def __init__(self, encoder_hidden: int, pred_hidden: int, width: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.enc, self.pred = nn.Linear(encoder_hidden, width), nn.Linear(pred_hidden, width)
        layer = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}[activation]
        self.joint_net = nn.Sequential(layer, nn.Linear(width, V))

    def project_encoder(self, encoder_output: Tensor) -> Any:
        return self.enc(encoder_output)

    def project_prednet(self, prednet_output: Tensor) -> Any:
        return self.pred(prednet_output)

    def forward(self, encoder_outputs: Tensor, decoder_outputs: Tensor) -> Any:
        f = self.enc(encoder_outputs.transpose(1, 2)).unsqueeze(2)
        g = self.pred(decoder_outputs.transpose(1, 2)).unsqueeze(1)
        return self.joint_net(f + g)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_nemo(activation: str) -> None:
    student, teacher = RNNTJoint(5, 4, 3, activation), RNNTJoint(8, 7, 6, "tanh")
    encoded, decoder = torch.randn(B, 5, T), torch.randn(B, 4, U + 1)
    taught = torch.randn(B, 8, T), torch.randn(B, 7, U + 1)
    transcript = torch.randint(0, V - 1, (B, U))
    blank = V - 1
    arguments = encoded, FRAMES, decoder, taught, transcript, LABELS
    loss = function("NeMo")(student, teacher, *arguments)

    def three(logits: Tensor) -> Tensor:
        """Probabilities of blank, the next label and everything else; blank is the last."""
        p = logits.softmax(-1)
        index = transcript[:, None, :, None].expand(-1, T, -1, 1)
        label = nn.functional.pad(p[:, :, :U].gather(3, index)[..., 0], (0, 1))
        label = label * inside(LABELS, U + 1)[:, None]
        return torch.stack([p[..., blank], label, 1 - p[..., blank] - label], -1)

    p, q = teacher(*taught), student(encoded, decoder)
    blank_first = torch.cat([p[..., blank:], p[..., :blank]], -1)
    weights = visits(dense(blank_first, transcript + 1))
    assert_close(loss, mean_kl(three(p), three(q), weights))
    assert_teaches_the_student_alone(loss, student, teacher)

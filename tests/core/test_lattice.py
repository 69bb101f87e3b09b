"""Scores, entropies and memory of both lattices against all T x U x V logits."""

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from codert.lattice import Activation, AdditiveLattice, MLPLattice
from codert.transducer import transducer_loss

from .brute_force import JOINTS, Case, arc_scores, cases, few, gradients, make_case
from .memory import Kept, Largest

joints = pytest.mark.parametrize("joint", JOINTS)


def dense_entropy(case: Case) -> Tensor:
    log_p = case.to(torch.float64).logits().detach().log_softmax(-1)
    return -torch.xlogy(log_p.exp(), log_p.exp()).sum(-1)


def peak(case: Case) -> tuple[int, int]:
    """Of loss, gradient and entropy: the largest tensor, and all that was kept between."""
    kept = Kept()
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
            loss = transducer_loss(case.lattice(), case.labels)
        gradients(loss, case)
        case.lattice().entropy()
    return largest.values, kept.values


@few
@given(cases())
def test_scores_match_dense(case: Case) -> None:
    scores = case.lattice().scores(case.labels)
    blank, label = arc_scores(case.logits(), case.labels)
    real = case.real_cells()
    assert_close(scores.blank[real], blank[real])
    before_last = real[:, :, 1:]
    assert_close(scores.label[before_last], label[before_last])
    assert case.lattice().shape == tuple(case.logits().shape)


@joints
def test_gradcheck_of_scores(joint: str) -> None:
    case = make_case(joint, [3, 2], [2, 1], V=4, scale=1)
    torch.autograd.gradcheck(
        lambda *leaves: tuple(case.lattice(*leaves).scores(case.labels)), case.leaves
    )


@few
@given(cases())
def test_entropy_matches_dense(case: Case) -> None:
    real = case.real_cells()
    entropy = case.lattice().entropy()
    assert_close(entropy[real], dense_entropy(case)[real], rtol=1e-9, atol=1e-9)
    assert not entropy.requires_grad
    V = case.lattice().shape[3]
    assert bool((entropy >= 0).all())
    assert bool((entropy <= math.log(V) + 1e-9).all())


def peaked(gap: float, dtype: torch.dtype = torch.float32) -> Case:
    """Encoder and decoder want different symbols, `gap` nats above the others."""
    case = make_case("additive", [4, 3], [3, 2], V=6, scale=0.5)
    e, d = (x.detach().clone() for x in case.leaves)
    e[..., 1] += gap
    d[..., 2] += gap
    return case.of(*(x.to(dtype).requires_grad_() for x in (e, d)))


@pytest.mark.parametrize("gap", [0, 30, 60, 66, 70, 74, 80, 90, 200])
@pytest.mark.parametrize("flushed", [False, True])
def test_entropy_where_shifted_sums_underflow(gap: float, flushed: bool) -> None:
    case = peaked(gap)
    if flushed and not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        entropy = case.lattice().entropy()
    finally:
        torch.set_flush_denormal(False)
    real = case.real_cells()
    assert_close(entropy.double()[real], dense_entropy(case)[real], rtol=1e-4, atol=1e-4)


@joints
def test_entropy_of_safe_cells_in_float32_beside_large_logits(joint: str) -> None:
    # log Z and the expectation are thousands here, and their difference about one nat.
    case = make_case(joint, [4, 3], [3, 2], V=6).to(torch.float32)
    shifted = [x.detach() for x in case.leaves]
    shifted[0 if joint == "additive" else 3] += 4096
    case = case.of(*shifted)
    real = case.real_cells()
    entropy = case.lattice().entropy()
    tolerance = 1e-5 if joint == "additive" else 1e-3
    assert_close(entropy.double()[real], dense_entropy(case)[real], rtol=tolerance, atol=tolerance)


@joints
def test_entropy_is_not_computed_in_half_precision_under_autocast(joint: str) -> None:
    case = make_case(joint, [4, 3], [3, 2], V=6).to(torch.float32)
    expected = case.lattice().entropy()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(case.lattice().entropy(), expected)


@joints
def test_entropy_of_certain_and_of_uniform_cells(joint: str) -> None:
    case = make_case(joint, [2], [1], V=5).to(torch.float32)
    uniform = case.of(*(torch.zeros_like(x) for x in case.leaves))
    assert_close(uniform.lattice().entropy(), torch.full((1, 2, 2), math.log(5)))
    leaves = [torch.zeros_like(x) for x in case.leaves]
    leaves[0 if joint == "additive" else 3][..., 3] = 1000
    assert bool((case.of(*leaves).lattice().entropy() == 0).all())


@few
@given(cases("additive"), st.sampled_from([0.1, 1.0, 20.0]))
def test_loss_and_entropy_do_not_depend_on_the_gauge(case: Case, size: float) -> None:
    e, d = case.leaves
    generator = torch.Generator().manual_seed(1)
    c = size * torch.randn(e.shape[2], generator=generator, dtype=torch.float64)
    frame = size * torch.randn(*e.shape[:2], 1, generator=generator, dtype=torch.float64)
    moved = case.of(e + c + frame, d - c)
    assert_close(
        transducer_loss(moved.lattice(), case.labels),
        transducer_loss(case.lattice(), case.labels),
        rtol=1e-9,
        atol=1e-9,
    )
    real = case.real_cells()
    assert_close(
        moved.lattice().entropy()[real], case.lattice().entropy()[real], rtol=1e-8, atol=1e-8
    )


@joints
def test_only_the_decoder_may_be_frozen(joint: str) -> None:
    case = make_case(joint, [3, 2], [2, 1])
    expected = gradients(transducer_loss(case.lattice(), case.labels), case)[0]
    encoder, *others = case.leaves
    frozen = case.of(encoder, *(x.detach() for x in others))
    loss = transducer_loss(frozen.lattice(), frozen.labels)
    weights = torch.linspace(0.5, 2, 2, dtype=torch.float64)
    (found,) = torch.autograd.grad((loss * weights).sum(), [encoder])
    assert_close(found, expected)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_matches_dense(activation: Activation) -> None:
    case = make_case("mlp", [4, 2], [3, 1], V=6, scale=1)
    lengths = case.frame_lengths, case.label_lengths
    encoder, decoder, weight, bias = case.leaves
    inner = getattr(torch, activation)(encoder[:, :, None] + decoder[:, None])
    logits = inner @ weight.T + bias
    lattice = MLPLattice(encoder, decoder, weight, bias, *lengths, activation)
    real = lattice.real
    assert_close(lattice.logits()[real], logits[real])
    assert_close(lattice.at(*real.nonzero(as_tuple=True)), logits[real])
    blank, label = arc_scores(logits, case.labels)
    expected = (blank[real].sum() + label[real[:, :, 1:]].sum()) / 2
    # What is made of a lattice keeps its activation.
    same = lattice.frames(torch.arange(4), lengths[0]).tempered(0.5).tempered(2.0)
    scores = same.scores(case.labels)
    found = (scores.blank[real].sum() + scores.label[real[:, :, 1:]].sum()) / 2
    assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(found, case.leaves),
        torch.autograd.grad(expected, case.leaves),
        strict=True,
    ):
        assert_close(mine, theirs)
    log_p = logits.log_softmax(-1)
    assert_close(lattice.entropy()[real], -(log_p.exp() * log_p).sum(-1)[real])
    assert_close(lattice.collapsed(case.labels).logsumexp(-1)[real], torch.zeros_like(blank[real]))


def test_an_unknown_activation_is_refused() -> None:
    case = make_case("mlp", [2], [1])
    encoder, decoder, weight, bias = case.leaves
    lengths = case.frame_lengths, case.label_lengths
    with pytest.raises(ValueError, match="'gelu'; write tanh or relu or sigmoid"):
        MLPLattice(encoder, decoder, weight, bias, *lengths, "gelu")  # type: ignore[arg-type]


@joints
@pytest.mark.parametrize("chunk", [1, 40, 100, 1 << 22])
def test_chunks_change_nothing(joint: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(joint, [5, 3], [2, 4], V=6)
    if joint == "additive":
        case = peaked(1000, torch.float64)
    expected = transducer_loss(case.lattice(), case.labels)
    expected_gradients = gradients(expected, case)
    entropy = case.lattice().entropy()
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    loss = transducer_loss(case.lattice(), case.labels)
    assert_close(loss, expected)
    for mine, theirs in zip(gradients(loss, case), expected_gradients, strict=True):
        assert_close(mine, theirs)
    assert_close(case.lattice().entropy(), entropy)


@few
@given(cases(), st.sampled_from([0.5, 3.0]), st.integers(1, 6))
def test_logits_of_a_split_match_dense(case: Case, temperature: float, frames: int) -> None:
    lattice, real = case.lattice(), case.real_cells()
    assert torch.equal(lattice.real, real)
    parts = lattice.split(frames)
    assert all(part.shape[1] == frames for part in parts[:-1])
    assert torch.equal(torch.cat([part.real for part in parts], 1), real)
    mine, expected = torch.cat([part.logits() for part in parts], 1), case.logits()
    assert mine.shape == expected.shape
    assert_close(mine[real], expected[real])
    tempered = lattice.tempered(temperature)
    assert tempered.shape == lattice.shape
    of_parts = torch.cat([part.logits() for part in tempered.split(frames)], 1)
    assert_close(of_parts[real], expected[real] / temperature)
    of_tempered = torch.autograd.grad(of_parts[real].sum(), case.leaves)
    of_dense = torch.autograd.grad(case.logits()[real].sum() / temperature, case.leaves)
    for one, other in zip(of_tempered, of_dense, strict=True):
        assert_close(one, other)


@joints
def test_no_gradient_reaches_a_detached_lattice(joint: str) -> None:
    case = make_case(joint, [4, 3], [3, 2])
    lattice = case.lattice()
    detached = lattice.detached()
    assert type(detached) is type(lattice)
    assert torch.equal(detached.logits(), lattice.logits())
    assert torch.equal(
        transducer_loss(detached, case.labels), transducer_loss(lattice, case.labels)
    )
    assert not detached.logits().requires_grad
    assert not detached.tempered(2.0).scores(case.labels).blank.requires_grad
    assert lattice.logits().requires_grad


@joints
def test_a_gradient_may_reach_the_encoder_only(joint: str) -> None:
    case = make_case(joint, [4, 3], [3, 2])
    expected = transducer_loss(case.lattice(), case.labels)
    loss = transducer_loss(case.lattice().with_encoder_only(), case.labels)
    assert torch.equal(loss, expected)
    of_all = torch.autograd.grad(expected.sum(), case.leaves)
    of_encoder, *others = torch.autograd.grad(loss.sum(), case.leaves, allow_unused=True)
    assert torch.equal(of_encoder, of_all[0])
    assert others == [None] * len(others)


def test_additive_lattice_never_holds_all_logits() -> None:
    T, U, V = 40, 20, 300
    case = make_case("additive", [T, T - 5], [U, U - 3], V=V).to(torch.float32)
    largest, kept = peak(case)
    assert largest <= 2 * max(T, U + 1) * V
    assert kept < 2 * T * (U + 1) * V / 2
    with Largest() as dense:  # the instrument sees what it should
        case.logits().log_softmax(-1)
    assert dense.values >= 2 * T * (U + 1) * V


def test_underflowing_cells_are_made_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    T, U, V = 40, 20, 300
    chunk = 8000
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    case = make_case("additive", [T], [U], V=V, scale=0.1).to(torch.float32)
    e, d = (x.detach().clone() for x in case.leaves)
    e[..., 1] += 500
    d[..., 2] += 500
    largest, kept = peak(case.of(e.requires_grad_(), d.requires_grad_()))
    assert largest <= max(chunk, max(T, U + 1) * V)
    assert kept < T * (U + 1) * V / 2


def test_mlp_lattice_holds_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    T, U, V = 40, 20, 300
    case = make_case("mlp", [T, T - 5], [U, U - 3], V=V).to(torch.float32)
    chunk = 4 * 2 * (U + 1) * V
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    largest, kept = peak(case)
    assert largest <= chunk
    assert chunk < 2 * T * (U + 1) * V / 5
    assert kept < 2 * T * (U + 1) * V / 10


@pytest.mark.parametrize("wide", [True, False])
def test_mlp_chunks_allow_for_the_wider_of_inner_and_output_layer(
    wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    T, U, V, J = (30, 6, 3, 200) if wide else (30, 6, 200, 3)
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, T, J), (1, U + 1, J), (V, J), (V,)]
    leaves = [torch.randn(*s, generator=generator).requires_grad_() for s in shapes]
    case = Case("mlp", tuple(leaves), torch.ones(1, U).long(), torch.tensor([T]), torch.tensor([U]))
    chunk = 3 * (U + 1) * 200
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    assert peak(case)[0] <= max(chunk, T * J)


@joints
@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        ([5, 2], [1, 1], r"frame_lengths \[5, 2\] do not lie within 0 to 4"),
        ([4, -1], [1, 1], r"frame_lengths \[4, -1\]"),
        ([4, 2], [1, 4], r"label_lengths \[1, 4\] do not lie within 0 to 3"),
        ([4, 2], [-1, 1], r"label_lengths \[-1, 1\]"),
        ([4], [1, 1], r"frame_lengths are \(1,\); write one per utterance"),
        ([4, 4], [1], r"label_lengths are \(1,\); write one per utterance"),
    ],
)
def test_lengths_that_do_not_fit(
    joint: str, frames: list[int], labels: list[int], message: str
) -> None:
    case = make_case(joint, [4, 4], [3, 3])
    wrong = Case(joint, case.leaves, case.labels, torch.tensor(frames), torch.tensor(labels))
    with pytest.raises(ValueError, match=message):
        wrong.lattice()


def test_shapes_that_do_not_fit() -> None:
    lengths = torch.tensor([1]), torch.tensor([1])
    message = r"encoder gave \(1, 3, 5\) and the predictor \(1, 2, 6\)"
    with pytest.raises(ValueError, match=message):
        AdditiveLattice(torch.zeros(1, 3, 5), torch.zeros(1, 2, 6), *lengths)
    with pytest.raises(ValueError, match=message):
        MLPLattice(
            torch.zeros(1, 3, 5), torch.zeros(1, 2, 6), torch.zeros(4, 5), torch.zeros(4), *lengths
        )
    with pytest.raises(ValueError, match=r"must be \(B, T, V\)"):
        AdditiveLattice(torch.zeros(1, 3, 5), torch.zeros(2, 2, 5), *lengths)


def _by_the_old_setting(precision: str) -> None:
    torch.set_float32_matmul_precision({"bf16": "medium", "ieee": "highest"}[precision])


def _by_the_new_setting(precision: str) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = precision  # type: ignore[attr-defined]


def _by_a_setting_above(precision: str) -> None:
    torch.backends.mkldnn.fp32_precision = precision


@joints
@pytest.mark.parametrize("allow", [_by_the_old_setting, _by_the_new_setting, _by_a_setting_above])
def test_products_are_exact_whatever_the_caller_allows(
    joint: str, allow: Callable[[str], None]
) -> None:
    case = make_case(joint, [4, 2], [3, 1]).to(torch.float32)
    precisions = set()
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            if "mm" in str(func):
                precisions.add(products.fp32_precision)
            return func(*args, **(kwargs or {}))

    products.fp32_precision = "none"
    try:
        allow("bf16")
        with Watch():  # type: ignore[no-untyped-call]
            scores = case.lattice().scores(case.labels)
            if joint == "additive":  # the MLP's backward pass is any linear layer's
                torch.autograd.grad(scores.blank.sum(), case.leaves)
        assert products.fp32_precision == "bf16"
        allow("ieee")  # which is heard, wherever it is said
        assert products.fp32_precision == "ieee"
    finally:
        torch.backends.mkldnn.fp32_precision = products.fp32_precision = "none"
    assert precisions == {"ieee"}

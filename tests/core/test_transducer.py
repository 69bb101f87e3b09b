"""The transducer loss and its occupancies against enumeration, dense code and another library."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from warprnnt_numba import RNNTLossNumba

from codert.transducer import occupancies, recursion, transducer_loss

from .brute_force import (
    JOINTS,
    Case,
    arc_scores,
    cases,
    dense_loss,
    few,
    gradients,
    make_case,
    path_sum,
)

joints = pytest.mark.parametrize("joint", JOINTS)


def assert_matches_dense(case: Case, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    """Value and gradient of codert's loss are those of the dense one in float64."""
    exact = case.to(torch.float64)
    expected = dense_loss(exact)
    loss = transducer_loss(case.lattice(), case.labels)
    assert_close(loss.double(), expected, rtol=rtol, atol=atol)
    for mine, theirs in zip(gradients(loss, case), gradients(expected, exact), strict=True):
        assert_close(mine.double(), theirs, rtol=rtol, atol=atol)


@pytest.fixture(params=[False, True], ids=["denormals", "flushed"])
def denormals(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param and not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    yield
    torch.set_flush_denormal(False)


@joints
@pytest.mark.parametrize(
    ("T", "U"), [(1, 0), (1, 1), (1, 3), (2, 0), (4, 0), (2, 2), (3, 2), (4, 3), (2, 5)]
)
def test_loss_is_the_sum_over_all_alignments(joint: str, T: int, U: int) -> None:
    case = make_case(joint, [T], [U], V=4, seed=T + 10 * U)
    blank, label = arc_scores(case.logits(), case.labels)
    expected = path_sum(blank[0], label[0])
    loss = transducer_loss(case.lattice(), case.labels)
    assert_close(loss[0], expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(loss.sum(), case.leaves),
        torch.autograd.grad(expected, case.leaves),
        strict=True,
    ):
        assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


@joints
def test_gradcheck(joint: str) -> None:
    case = make_case(joint, [3, 2], [2, 1], V=4, scale=1)
    torch.autograd.gradcheck(
        lambda *leaves: transducer_loss(case.lattice(*leaves), case.labels), case.leaves
    )


@joints
def test_second_derivatives_are_refused_and_not_wrong(joint: str) -> None:
    case = make_case(joint, [3], [2])
    loss = transducer_loss(case.lattice(), case.labels).sum()
    with pytest.raises(RuntimeError, match="only once"):
        torch.autograd.grad(loss, case.leaves[:1], create_graph=True)
    if joint == "additive":
        blank = case.lattice().scores(case.labels).blank.exp().sum()
        with pytest.raises(RuntimeError, match="only once"):
            torch.autograd.grad(blank, case.leaves[:1], create_graph=True)


@few
@given(cases())
def test_loss_matches_dense(case: Case) -> None:
    assert_matches_dense(case)


@few
@given(cases())
def test_float32_stays_close_to_float64(case: Case) -> None:
    assert_matches_dense(case.to(torch.float32), rtol=1e-4, atol=1e-4)


@joints
def test_utterances_do_not_depend_on_their_batch_mates(joint: str) -> None:
    case = make_case(joint, [4, 2, 3], [1, 3, 0], more_frames=2, more_labels=1)
    together = transducer_loss(case.lattice(), case.labels)
    for b in range(3):
        T, U = int(case.frame_lengths[b]), int(case.label_lengths[b])
        encoder, decoder, *output = case.leaves
        alone = Case(
            joint,
            (encoder[b : b + 1, :T], decoder[b : b + 1, : U + 1], *output),
            case.labels[b : b + 1, :U],
            case.frame_lengths[b : b + 1],
            case.label_lengths[b : b + 1],
        )
        assert_close(transducer_loss(alone.lattice(), alone.labels), together[b : b + 1])


@joints
@pytest.mark.parametrize("filling", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_may_hold_anything(joint: str, filling: float, dtype: torch.dtype) -> None:
    clean = make_case(joint, [4, 2, 1], [1, 3, 0], more_frames=1, more_labels=1).to(dtype)
    filled = clean.filled(filling)
    frames, positions = clean.real()

    expected = transducer_loss(clean.lattice(), clean.labels)
    loss = transducer_loss(filled.lattice(), clean.labels)
    assert torch.equal(loss, expected)
    of_filled = gradients(loss, filled)
    for mine, theirs in zip(of_filled, gradients(expected, clean), strict=True):
        assert torch.equal(mine, theirs)
    assert bool((of_filled[0][~frames] == 0).all())
    assert bool((of_filled[1][~positions] == 0).all())
    assert torch.equal(
        filled.lattice().entropy()[clean.real_cells()],
        clean.lattice().entropy()[clean.real_cells()],
    )


@joints
@pytest.mark.parametrize("filling", [-1, 0, 10**6])
def test_labels_in_the_padding_are_not_read(joint: str, filling: int) -> None:
    case = make_case(joint, [4, 3], [1, 3], more_labels=2)
    padding = torch.arange(case.labels.shape[1]) >= case.label_lengths[:, None]
    labels = case.labels.masked_fill(padding, filling)
    loss = transducer_loss(case.lattice(), labels)
    assert torch.equal(loss, transducer_loss(case.lattice(), case.labels))
    assert torch.equal(
        occupancies(case.lattice(), labels).label,
        occupancies(case.lattice(), case.labels).label,
    )


def test_labels_may_be_of_a_small_integer_type() -> None:
    case = make_case("additive", [4, 3], [1, 3])
    small = Case(
        "additive",
        case.leaves,
        case.labels.int(),
        case.frame_lengths.int(),
        case.label_lengths.int(),
    )
    assert torch.equal(
        transducer_loss(small.lattice(), small.labels),
        transducer_loss(case.lattice(), case.labels),
    )


@joints
@pytest.mark.parametrize("wrong", [0, -1, 5, 99])
def test_label_errors_name_utterance_position_and_value(joint: str, wrong: int) -> None:
    case = make_case(joint, [4, 3], [1, 3], V=5)
    case.labels[1, 2] = wrong
    with pytest.raises(ValueError, match=rf"label 2 of utterance 1 is {wrong};"):
        transducer_loss(case.lattice(), case.labels)
    with pytest.raises(ValueError, match=r"labels are \(2, 2\)"):
        transducer_loss(case.lattice(), case.labels[:, :2])


@joints
def test_logits_of_a_hundred_in_float32(joint: str) -> None:
    case = make_case(joint, [5, 3], [2, 4], V=7)
    generator = torch.Generator().manual_seed(1)

    def extreme(x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, x.shape, generator=generator) * 2 - 1
        return (signs * 100 + x.detach()).float().requires_grad_()

    if joint == "additive":
        leaves = tuple(extreme(x) for x in case.leaves)
    else:
        a, b, weight, bias = case.leaves
        leaves = tuple(x.detach().float().requires_grad_() for x in (a, b))
        leaves += (extreme(weight), extreme(bias))
    assert_matches_dense(case.of(*leaves), rtol=1e-4, atol=2e-4)


def gap_case(gap: float, V: int = 6) -> Case:
    """An additive case whose encoder and decoder want different symbols, `gap` nats apart."""
    case = make_case("additive", [4, 3], [3, 2], V=V, scale=0.5, seed=3)
    e, d = (x.detach() - gap for x in case.leaves)
    e[..., 1] += gap
    d[..., 2] += gap
    return case.of(*(x.float().requires_grad_() for x in (e, d)))


@pytest.mark.usefixtures("denormals")
@pytest.mark.parametrize("gap", [200.0, 104.0, 90.0, 1000.0])
def test_every_shifted_sum_underflows(gap: float) -> None:
    case = gap_case(gap)
    e, d = case.leaves
    sums = (e - e.amax(-1, keepdim=True)).exp() @ (d - d.amax(-1, keepdim=True)).exp().mT
    assert bool((sums < 1e-36).all()), "the case must be one that a plain product loses"
    assert_matches_dense(case, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("denormals")
@pytest.mark.parametrize("gap", range(62, 92, 3))
def test_no_digits_are_lost_near_the_limit_of_safe_sums(gap: int) -> None:
    case = gap_case(gap)
    exact = case.to(torch.float64)
    log_z = exact.logits().logsumexp(-1)
    blank = case.lattice().scores(case.labels).blank
    # A rounding of the logits themselves, which are as large as the gap.
    expected, real = exact.logits()[..., 0] - log_z, case.real_cells()
    assert_close(blank.double()[real], expected[real], rtol=1e-6, atol=1e-4)
    assert_matches_dense(case, rtol=1e-4, atol=1e-4)


def test_safe_and_underflowing_cells_in_one_batch() -> None:
    case = gap_case(200)
    e = case.leaves[0].detach().clone()
    e[0, 1], e[1, 2] = 0.3, -0.2
    e[0, 2, 2] = 0.0
    assert_matches_dense(case.of(e.requires_grad_(), case.leaves[1]), rtol=1e-4, atol=1e-4)


@joints
def test_masked_symbols_may_have_logits_of_minus_infinity(joint: str) -> None:
    case = make_case(joint, [3, 2], [2, 1], V=5)
    leaves = [x.detach().clone() for x in case.leaves]
    target = leaves[0] if joint == "additive" else leaves[3]
    target[..., 4] = -torch.inf
    masked = case.of(*(x.requires_grad_() for x in leaves))
    masked.labels.clamp_(max=3)
    assert_matches_dense(masked)
    log_p = case.logits().detach()[..., :-1].log_softmax(-1)
    expected, real = -(log_p.exp() * log_p).sum(-1), case.real_cells()
    assert_close(masked.lattice().entropy()[real], expected[real])


@joints
@pytest.mark.parametrize("other", [0.0, 1.0])
def test_impossible_utterances_cost_inf_and_teach_nothing(joint: str, other: float) -> None:
    case = make_case(joint, [4, 0, 3], [1, 2, 3])
    loss = transducer_loss(case.lattice(), case.labels)
    assert loss.isinf().tolist() == [False, True, False]
    weight = torch.tensor([1.0, other, 1.0], dtype=torch.float64)
    found = torch.autograd.grad(loss, case.leaves, weight)
    possible = Case(
        joint,
        tuple(x[[0, 2]] if x.dim() == 3 else x for x in case.leaves),
        case.labels[[0, 2]],
        case.frame_lengths[[0, 2]],
        case.label_lengths[[0, 2]],
    )
    alone = transducer_loss(possible.lattice(), possible.labels)
    assert_close(loss[[0, 2]], alone)
    for mine, theirs in zip(found, torch.autograd.grad(alone.sum(), case.leaves), strict=True):
        assert_close(mine, theirs)
    assert bool((found[0][1] == 0).all())
    assert bool((found[1][1] == 0).all())
    occupied = occupancies(case.lattice(), case.labels)
    assert bool((occupied.blank[1] == 0).all())
    assert bool((occupied.label[1] == 0).all())


@joints
def test_a_batch_in_which_nothing_is_possible(joint: str) -> None:
    case = make_case(joint, [0, 0], [1, 0])
    loss = transducer_loss(case.lattice(), case.labels)
    assert loss.tolist() == [math.inf, math.inf]
    for gradient in torch.autograd.grad(loss.sum(), case.leaves):
        assert bool((gradient == 0).all())


@joints
def test_a_symbol_of_probability_zero_makes_its_utterance_impossible(joint: str) -> None:
    case = make_case(joint, [3, 3], [2, 2], V=5)
    case.labels[0, 1] = 4
    case.labels[1] = torch.tensor([1, 2])
    leaves = [x.detach().clone() for x in case.leaves]
    (leaves[0] if joint == "additive" else leaves[3])[..., 4] = -torch.inf
    masked = case.of(*(x.requires_grad_() for x in leaves))
    loss = transducer_loss(masked.lattice(), masked.labels)
    assert loss.isinf().tolist() == [True, False]
    for gradient in torch.autograd.grad(loss.sum(), masked.leaves):
        assert bool(gradient.isfinite().all())


@joints
def test_empty_batch(joint: str) -> None:
    case = make_case(joint, [], [])
    loss = transducer_loss(case.lattice(), case.labels)
    assert loss.shape == (0,)
    for gradient in torch.autograd.grad(loss.sum(), case.leaves):
        assert bool((gradient == 0).all())
    assert case.lattice().entropy().shape == (0, 2, 3)
    assert occupancies(case.lattice(), case.labels).node.shape == (0, 2, 3)


@joints
def test_autocast_changes_nothing(joint: str) -> None:
    case = make_case(joint, [5, 3], [2, 4], V=7).to(torch.float32)
    expected = transducer_loss(case.lattice(), case.labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = transducer_loss(case.lattice(), case.labels)
    assert torch.equal(loss, expected)
    for mine, theirs in zip(gradients(loss, case), gradients(expected, case), strict=True):
        assert torch.equal(mine, theirs)


@joints
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_only_round_the_inputs(joint: str, dtype: torch.dtype) -> None:
    half = make_case(joint, [5, 3], [2, 4], V=7).to(dtype)
    whole = half.to(torch.float32)
    loss = transducer_loss(half.lattice(), half.labels)
    expected = transducer_loss(whole.lattice(), whole.labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    for mine, theirs in zip(gradients(loss, half), gradients(expected, whole), strict=True):
        assert mine.dtype == dtype
        assert_close(mine, theirs.to(dtype))


@joints
@pytest.mark.parametrize("fastemit", [0.0, 0.3])
def test_another_library_agrees(joint: str, fastemit: float) -> None:
    case = make_case(joint, [5, 3, 1], [2, 4, 0], V=6)
    loss = transducer_loss(case.lattice(), case.labels, fastemit)
    exact = case.to(torch.float64)
    library = RNNTLossNumba(blank=0, reduction="none", fastemit_lambda=fastemit)
    theirs = library(
        exact.logits(), case.labels.int(), case.frame_lengths.int(), case.label_lengths.int()
    )
    # It reports the loss times 1 + fastemit; codert leaves the value as it is.
    assert_close(loss * (1 + fastemit), theirs)
    for mine, other in zip(gradients(loss, case), gradients(theirs, exact), strict=True):
        assert_close(mine, other)


@joints
@pytest.mark.parametrize("fastemit", [0.5, -0.1])
def test_fastemit_scales_the_gradient_of_label_arcs(joint: str, fastemit: float) -> None:
    case = make_case(joint, [3, 2], [2, 3], V=4)
    blank, label = arc_scores(case.logits(), case.labels)
    expected = blank.new_zeros(())
    for b, (T, U) in enumerate([(3, 2), (2, 3)]):
        arcs = blank[b, :T, : U + 1], label[b, :T, :U]
        by_blank, by_label = torch.autograd.grad(path_sum(*arcs), arcs, retain_graph=True)
        expected = expected + (by_blank * arcs[0]).sum()
        expected = expected + (1 + fastemit) * (by_label * arcs[1]).sum()
    loss = transducer_loss(case.lattice(), case.labels, fastemit=fastemit)
    assert_close(loss, dense_loss(case))
    for mine, theirs in zip(
        torch.autograd.grad(loss.sum(), case.leaves),
        torch.autograd.grad(expected, case.leaves),
        strict=True,
    ):
        assert_close(mine, theirs)


@few
@given(cases(), st.sampled_from(["numba", "torch"]))
def test_occupancies_are_a_distribution_over_alignments(case: Case, package: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recursion._FORMS, "cpu", package)
        occupied = occupancies(case.lattice(), case.labels)
    frames, positions = case.real()
    # Every alignment leaves each frame once, and emits each label once.
    assert_close(occupied.blank.sum(2), frames.double())
    assert_close(occupied.label.sum(1), positions[:, 1:].double())
    assert bool((occupied.blank[~case.real_cells()] == 0).all())
    assert bool((occupied.label >= 0).all())
    assert bool((occupied.blank >= 0).all())
    # Every alignment meets each of the diagonals t + u once.
    B, T, U1 = occupied.node.shape
    diagonal = (torch.arange(T)[:, None] + torch.arange(U1)).flatten()
    met = torch.zeros(B, T + U1, dtype=torch.float64)
    met.index_add_(1, diagonal, occupied.node.flatten(1))
    steps = (case.frame_lengths + case.label_lengths)[:, None]
    assert_close(met, (torch.arange(T + U1) < steps).double())


@joints
def test_occupancies_are_the_derivative_of_the_enumerated_loss(joint: str) -> None:
    case = make_case(joint, [4], [3])
    arcs = tuple(x.detach()[0].requires_grad_() for x in arc_scores(case.logits(), case.labels))
    by_blank, by_label = torch.autograd.grad(path_sum(*arcs), arcs)
    occupied = occupancies(case.lattice(), case.labels)
    assert_close(occupied.blank[0], -by_blank)
    assert_close(occupied.label[0], -by_label)
    assert not occupied.blank.requires_grad


def test_a_long_utterance_in_float32() -> None:
    case = make_case("additive", [300], [60], V=30, scale=1)
    exact = transducer_loss(case.lattice(), case.labels)
    single = case.to(torch.float32)
    loss = transducer_loss(single.lattice(), case.labels)
    assert_close(loss.double(), exact, rtol=1e-6, atol=0)
    for mine, theirs in zip(gradients(loss, single), gradients(exact, case), strict=True):
        assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@joints
def test_more_than_2_to_31_logits(joint: str) -> None:
    B, T, U, V = 16, 800, 45, 4096
    assert B * T * (U + 1) * V > 2**31
    generator = torch.Generator().manual_seed(0)
    width = V if joint == "additive" else 2
    leaves = [torch.randn(B, n, width, generator=generator) for n in (T, U + 1)]
    if joint == "mlp":
        leaves += [torch.randn(V, 2, generator=generator), torch.zeros(V)]
    labels = torch.randint(1, V, (B, U), generator=generator)

    def of(b: slice) -> Case:
        inputs = [x[b] for x in leaves[:2]] + leaves[2:]
        lengths = torch.full((B,), T)[b], torch.full((B,), U)[b]
        return Case(joint, tuple(inputs), labels[b], *lengths).to(torch.float32)

    case, last = of(slice(None)), of(slice(B - 1, None))
    together = transducer_loss(case.lattice(), case.labels)
    alone = transducer_loss(last.lattice(), last.labels)
    assert_close(together[-1:], alone)
    found = torch.autograd.grad(together[-1], case.leaves)
    expected = torch.autograd.grad(alone.sum(), last.leaves)
    assert bool((found[0][:-1] == 0).all())
    for x, y in zip(found[:2], expected[:2], strict=True):
        assert_close(x[-1:], y)
    for x, y in zip(found[2:], expected[2:], strict=True):
        assert_close(x, y)


def test_cells_that_are_not_felt_change_nothing() -> None:
    case = make_case("mlp", [60, 41], [20, 7], V=8, scale=3.0)
    node = occupancies(case.lattice(), case.labels).node
    assert float((node < 1e-12).float().mean()) > 0.3, "the case leaves no cell out"
    single = case.to(torch.float32)
    found = gradients(transducer_loss(single.lattice(), single.labels), single)
    expected = gradients(dense_loss(case), case)
    for x, y in zip(found, expected, strict=True):
        assert_close(x.double(), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@joints
def test_a_gradient_that_is_not_finite_is_not_hidden(joint: str, value: float) -> None:
    case = make_case(joint, [4, 3], [2, 1])
    found = torch.autograd.grad(
        (transducer_loss(case.lattice(), case.labels) * value).sum(), case.leaves
    )
    assert not any(bool(x.isfinite().all()) for x in found)


@joints
def test_leaves_of_any_strides_have_their_gradients(joint: str) -> None:
    case = make_case(joint, [4, 4], [2, 2])  # no padding, whose filling would make them contiguous
    encoder, decoder, *output = case.leaves
    turned = [x.detach().mT.contiguous().mT.requires_grad_() for x in (encoder, decoder)]
    strided = case.of(*turned, *output)
    losses = [transducer_loss(each.lattice(), each.labels) for each in (case, strided)]
    for mine, theirs in zip(gradients(losses[1], strided), gradients(losses[0], case), strict=True):
        assert_close(mine, theirs)

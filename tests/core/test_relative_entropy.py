"""KL at each cell of two additive lattices against all T x U x V logits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.lattice import AdditiveLattice, relative_entropy

from .brute_force import Case, cases, few, make_case, partner
from .memory import Kept, Largest

scales = st.sampled_from([0.1, 1.0, 10.0])


def lattice(case: Case, *leaves: Tensor) -> AdditiveLattice:
    e, d = leaves or case.leaves
    return AdditiveLattice(e, d, case.frame_lengths, case.label_lengths)


def relative(p: Case, q: Case) -> Tensor:
    return relative_entropy(lattice(p), lattice(q))


def dense(p: Case, q: Case) -> Tensor:
    log_p, log_q = p.logits().log_softmax(-1), q.logits().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def learnt(kl: Tensor, p: Case, q: Case) -> tuple[Tensor, ...]:
    """What a differently weighted sum over the real cells teaches the four leaves."""
    weights = torch.linspace(0.5, 2, kl.numel(), dtype=kl.dtype).view_as(kl)
    return torch.autograd.grad((kl * weights)[p.real_cells()].sum(), [*p.leaves, *q.leaves])


def pair(seed: int = 0, V: int = 6, scale: float = 2.0, single: bool = False) -> tuple[Case, Case]:
    """Two additive recognisers of a batch with padding."""
    p = make_case("additive", [4, 2], [1, 3], V, seed, scale, more_frames=1, more_labels=1)
    q = partner(p, "additive", seed, scale)
    return (p.to(torch.float32), q.to(torch.float32)) if single else (p, q)


def opposed(case: Case, gap: float) -> Case:
    """Encoder and decoder want different symbols, `gap` nats above the others."""
    e, d = (x.detach().clone() for x in case.leaves)
    e[..., 1] += gap
    d[..., 2] += gap
    return case.of(e.requires_grad_(), d.requires_grad_())


def plain_sums(case: Case) -> Tensor:
    """What one product of shifted exponentials gives: 0 where nothing is left of a cell."""
    e, d = (x.detach() for x in case.leaves)
    return (e - e.amax(-1, keepdim=True)).exp() @ (d - d.amax(-1, keepdim=True)).exp().mT


def assert_matches_dense(p: Case, q: Case, value: float, gradient: float) -> None:
    """Both within a tolerance of the dense ones in float64: relative, and of the largest."""
    exact = p.to(torch.float64), q.to(torch.float64)
    real, expected = p.real_cells(), dense(*exact)
    kl = relative(p, q)
    assert_close(kl.double()[real], expected[real], rtol=value, atol=value)
    for mine, theirs in zip(learnt(kl, p, q), learnt(expected, *exact), strict=True):
        size = max(1.0, float(theirs.abs().max()))
        assert_close(mine.double(), theirs, rtol=gradient, atol=gradient * size)


@few
@given(cases("additive"), scales, st.integers(0, 1000))
def test_matches_dense(p: Case, scale: float, seed: int) -> None:
    q = partner(p, "additive", seed, scale)
    kl = relative(p, q)
    assert kl.shape == p.real_cells().shape
    assert bool((kl >= 0).all())
    assert_matches_dense(p, q, 1e-9, 1e-9)


@pytest.mark.parametrize("gap", [0.0, 1000.0])
def test_gradcheck(gap: float) -> None:
    p, q = pair(V=4, scale=1)
    p, q = opposed(p, gap), opposed(q, gap)
    real = p.real_cells()
    torch.autograd.gradcheck(
        lambda a, b, c, d: relative_entropy(lattice(p, a, b), lattice(q, c, d))[real],
        (*p.leaves, *q.leaves),
    )


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_large_logits_in_float32(scale: float, seed: int) -> None:
    p, q = pair(seed, scale=scale, single=True)
    sums = torch.stack([plain_sums(p), plain_sums(q)])[:, p.real_cells()]
    # Cells that a plain product loses stand beside others in the two hardest cases only.
    assert bool((sums < 1e-33).any()) == (scale >= 60)
    assert bool((sums > 1e-25).any())
    assert_matches_dense(p, q, value=2e-6, gradient=1e-6 * max(1.0, scale))


@pytest.mark.parametrize("gap", [62, 66, 70, 74, 80, 90])
@pytest.mark.parametrize("flushed", [False, True])
def test_no_digits_are_lost_near_the_limit_of_safe_sums(gap: float, flushed: bool) -> None:
    p, q = pair(scale=0.5, single=True)
    if flushed and not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        for a, b in ((gap, gap), (gap, 0), (0, gap)):
            # The roundings of logits as large as the gap.
            assert_matches_dense(opposed(p, a), opposed(q, b), 1e-5, 1e-4)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(("of_p", "of_q"), [(200, 200), (200, 0), (0, 200)])
@pytest.mark.parametrize("chunk", [1, 40, 1 << 22])
def test_every_cell_underflows(
    of_p: float, of_q: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    p, q = pair(scale=1, single=True)
    p, q = opposed(p, of_p), opposed(q, of_q)
    for case, gap in ((p, of_p), (q, of_q)):
        assert bool((plain_sums(case)[p.real_cells()] < 1e-36).all()) == bool(gap)
    assert_matches_dense(p, q, 1e-5, 2e-4)


def test_logits_of_a_hundred_in_opposition() -> None:
    p, q = pair(single=True)

    def signs(first: int) -> tuple[Tensor, Tensor]:
        e, d = (torch.full_like(x, -100) for x in p.leaves)
        e[..., first], d[..., first + 1] = 100, 100
        return e, d

    p, q = (c.of(*(x.requires_grad_() for x in signs(i))) for c, i in ((p, 1), (q, 3)))
    assert bool((plain_sums(p) == 0).all())
    # Each is uniform over two symbols, at 0, which the other holds at -200.
    kl = relative(p, q)
    assert_close(kl[p.real_cells()], torch.full_like(kl, 200)[p.real_cells()])
    assert_matches_dense(p, q, 1e-6, 1e-6)


@pytest.mark.parametrize("gap", [0.0, 200.0])
@pytest.mark.parametrize("seed", range(3))
def test_small_divergences_teach_in_the_right_direction(gap: float, seed: int) -> None:
    p, noise = pair(seed, single=True)
    p = opposed(p, gap)
    q = p.of(
        *(
            (a + 1e-3 * b).detach().requires_grad_()
            for a, b in zip(p.leaves, noise.leaves, strict=True)
        )
    )
    exact = p.to(torch.float64), q.to(torch.float64)
    real = p.real_cells()
    kl, expected = relative(p, q), dense(*exact)
    assert 1e-8 < float(expected[real].detach().mean()) < 1e-4
    # The value is lost beside the roundings; the gradient is not.
    assert_close(kl.double()[real], expected[real], rtol=0, atol=3e-6)
    assert bool((kl >= 0).all())
    for mine, theirs in zip(learnt(kl, p, q), learnt(expected, *exact), strict=True):
        error = (mine.double() - theirs).norm() / theirs.norm()
        assert float(error) < (1e-2 if not gap else 5e-2)


@pytest.mark.parametrize("gap", [0.0, 200.0])
@pytest.mark.parametrize("single", [False, True])
def test_nothing_to_learn_from_an_equal(gap: float, single: bool) -> None:
    p, _ = pair(single=single)
    p = opposed(p, gap)
    q = p.of(*(x.detach().clone().requires_grad_() for x in p.leaves))
    kl = relative(p, q)
    assert bool((kl == 0).all())
    for gradient in learnt(kl, p, q):
        assert bool((gradient == 0).all())


@few
@given(cases("additive"), st.sampled_from([0.1, 1.0, 20.0]))
def test_does_not_depend_on_the_gauge(p: Case, size: float) -> None:
    q = partner(p, "additive")
    generator = torch.Generator().manual_seed(1)

    def moved(case: Case) -> Case:
        e, d = (x.detach() for x in case.leaves)
        c, frame, label = (
            size * torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in (e.shape[2:], (*e.shape[:2], 1), (*d.shape[:2], 1))
        )
        return case.of((e + c + frame).requires_grad_(), (d - c + label).requires_grad_())

    expected = relative(p, q)
    of_expected = learnt(expected, p, q)
    real = p.real_cells()
    for one, other in ((moved(p), q), (p, moved(q)), (moved(p), moved(q))):
        kl = relative(one, other)
        assert_close(kl[real], expected[real], rtol=1e-8, atol=1e-8)
        for mine, theirs in zip(learnt(kl, one, other), of_expected, strict=True):
            assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("filling", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("single", [False, True])
def test_padding_may_hold_anything(filling: float, single: bool) -> None:
    p, q = pair(single=single)
    filled = p.filled(filling), q.filled(filling)
    expected, kl = relative(p, q), relative(*filled)
    assert torch.equal(kl, expected)
    frames, positions = p.real()
    found = learnt(kl, *filled)
    for mine, theirs in zip(found, learnt(expected, p, q), strict=True):
        assert torch.equal(mine, theirs)
    for gradient, real in zip(found, (frames, positions, frames, positions), strict=True):
        assert bool((gradient[~real] == 0).all())


@pytest.mark.parametrize("gap", [0.0, 200.0])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("single", [False, True])
def test_a_symbol_that_only_the_student_holds_possible(gap: float, part: int, single: bool) -> None:
    p, q = pair(scale=1, single=single)
    p, q = opposed(p, gap), opposed(q, gap)
    masked, finite = ([x.detach().clone() for x in p.leaves] for _ in range(2))
    masked[part][..., 4], finite[part][..., 4] = -math.inf, -5000
    p = p.of(*(x.requires_grad_() for x in masked))
    exact = [
        p.of(*(x.double().requires_grad_() for x in finite)),  # exp(-5000) is 0
        q.to(torch.float64),
    ]
    kl, expected = relative(p, q), dense(*exact)
    real = p.real_cells()
    tolerance = 1e-5 if single else 1e-10
    assert_close(kl.double()[real], expected[real], rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(learnt(kl, p, q), learnt(expected, *exact), strict=True):
        assert_close(mine.double(), theirs, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("gap", [0.0, 200.0])
@pytest.mark.parametrize("part", [0, 1])
def test_a_symbol_that_both_hold_impossible_counts_for_nothing(gap: float, part: int) -> None:
    both = [opposed(case, gap) for case in pair(scale=1, single=True)]
    fewer = [c.of(*(x.detach()[..., :5].requires_grad_() for x in c.leaves)) for c in both]
    for i in range(2):
        leaves = [x.detach().clone() for x in both[i].leaves]
        leaves[part][..., 5] = -math.inf
        both[i] = both[i].of(*(x.requires_grad_() for x in leaves))
    kl, expected = relative(*both), relative(*fewer)
    real = both[0].real_cells()
    assert_close(kl[real], expected[real], rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(learnt(kl, *both), learnt(expected, *fewer), strict=True):
        assert_close(mine[..., :5], theirs, rtol=1e-4, atol=1e-4)
        assert bool((mine[..., 5] == 0).all())


@pytest.mark.parametrize("part", [0, 1])
def test_a_symbol_that_two_hold_impossible_by_other_parts_counts_for_nothing(part: int) -> None:
    both = [*pair(scale=1)]
    fewer = [c.of(*(x.detach()[..., :5].requires_grad_() for x in c.leaves)) for c in both]
    for i in range(2):
        leaves = [x.detach().clone() for x in both[i].leaves]
        leaves[part ^ i][..., 5] = -math.inf
        both[i] = both[i].of(*(x.requires_grad_() for x in leaves))
    kl, expected = relative(*both), relative(*fewer)
    real = both[0].real_cells()
    assert_close(kl[real], expected[real])
    for mine, theirs in zip(learnt(kl, *both), learnt(expected, *fewer), strict=True):
        assert_close(mine[..., :5], theirs)
        assert bool((mine[..., 5] == 0).all())


def test_gradients_of_one_side_are_those_of_both() -> None:
    p, q = pair()
    of_p, of_q = learnt(relative(p, q), p, q)[:2], learnt(relative(p, q), p, q)[2:]
    weights = torch.linspace(0.5, 2, p.real_cells().numel(), dtype=torch.float64)
    weights = weights.view(p.real_cells().shape).masked_fill(~p.real_cells(), 0)
    for kl, leaves, expected in (
        (relative_entropy(lattice(p).detached(), lattice(q)), q.leaves, of_q),
        (relative_entropy(lattice(p), lattice(q).detached()), p.leaves, of_p),
    ):
        found = torch.autograd.grad((kl * weights).sum(), [*leaves])
        for mine, theirs in zip(found, expected, strict=True):
            assert torch.equal(mine, theirs)
    assert not relative_entropy(lattice(p).detached(), lattice(q).detached()).requires_grad


@pytest.mark.parametrize("both", [True, False])
def test_a_shared_decoder_learns_from_both_sides(both: bool) -> None:
    p, q = pair()
    q = q.of(q.leaves[0], p.leaves[1])
    teacher = lattice(p) if both else lattice(p).detached()
    shared = relative_entropy(teacher, lattice(q))[p.real_cells()].sum()
    apart = p.to(torch.float64), q.to(torch.float64)
    expected = torch.autograd.grad(
        dense(*apart)[p.real_cells()].sum(), [apart[0].leaves[1], apart[1].leaves[1]]
    )
    (found,) = torch.autograd.grad(shared, [p.leaves[1]])
    assert_close(found, expected[0] + expected[1] if both else expected[1])


def test_second_derivatives_are_refused_and_not_wrong() -> None:
    p, q = pair()
    kl = relative(p, q).sum()
    for leaves in (p.leaves, q.leaves):
        with pytest.raises(RuntimeError, match="only once"):
            torch.autograd.grad(kl, leaves[:1], create_graph=True)


def test_shapes_that_differ_are_refused() -> None:
    p = make_case("additive", [4], [3], V=6)
    for other in (
        make_case("additive", [5], [3], V=6),
        make_case("additive", [4], [2], V=6),
        make_case("additive", [4], [3], V=5),
        make_case("additive", [4, 4], [3, 3], V=6),  # one utterance would spread over two
    ):
        with pytest.raises(ValueError, match=r"\(1, 4, 4, 6\)") as error:
            relative_entropy(lattice(p), lattice(other))
        assert str(lattice(other).shape) in str(error.value)


@pytest.mark.parametrize("single", [True, False])
def test_autocast_changes_nothing(single: bool) -> None:
    p, q = pair(single=single)
    expected = relative(p, q)
    with torch.autocast("cpu", torch.bfloat16):
        kl = relative(p, q)
        found = learnt(kl, p, q)
    assert torch.equal(kl, expected)
    for mine, theirs in zip(found, learnt(expected, p, q), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_only_round_the_inputs(dtype: torch.dtype) -> None:
    half = [case.to(dtype) for case in pair()]
    whole = [case.to(torch.float32) for case in half]
    kl, expected = relative(*half), relative(*whole)
    assert kl.dtype == torch.float32
    assert torch.equal(kl, expected)
    for mine, theirs in zip(learnt(kl, *half), learnt(expected, *whole), strict=True):
        assert mine.dtype == dtype
        assert torch.equal(mine, theirs.to(dtype))


@pytest.mark.parametrize("frames", [[], [0], [0, 0]])
def test_no_cells(frames: list[int]) -> None:
    p = make_case("additive", frames, [2] * len(frames))
    q = partner(p, "additive")
    kl = relative(p, q)
    assert kl.shape == p.real_cells().shape
    for gradient in torch.autograd.grad(kl.sum(), [*p.leaves, *q.leaves]):
        assert bool((gradient == 0).all())


def held(p: Case, q: Case) -> tuple[int, int]:
    """Of value and gradient: the largest tensor, and all that was kept between."""
    kept = Kept()
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
            kl = relative(p, q)
        learnt(kl, p, q)
    return largest.values, kept.values


def test_all_logits_are_never_held() -> None:
    T, U, V = 40, 20, 300
    p = make_case("additive", [T, T - 5], [U, U - 3], V).to(torch.float32)
    q = partner(p, "additive").to(torch.float32)
    largest, kept = held(p, q)
    assert largest <= 2 * T * V
    assert kept < 2 * T * (U + 1) * V / 2
    with Largest() as instrument:  # it sees what it should
        dense(p, q)
    assert instrument.values >= 2 * T * (U + 1) * V


def test_underflowing_cells_are_made_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    T, U, V = 40, 20, 300
    chunk = 8000
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    p = make_case("additive", [T], [U], V, scale=0.1).to(torch.float32)
    q = partner(p, "additive", scale=0.1).to(torch.float32)
    largest, kept = held(opposed(p, 500), opposed(q, 500))
    assert largest <= max(chunk, T * V)
    assert kept < T * (U + 1) * V / 2

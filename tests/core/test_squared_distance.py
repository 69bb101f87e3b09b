"""The squared distance at each cell of two additive lattices against all T x U x V logits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.lattice import AdditiveLattice, squared_distance

from .brute_force import Case, cases, few, make_case, partner


def lattice(case: Case, *leaves: Tensor) -> AdditiveLattice:
    e, d = leaves or case.leaves
    return AdditiveLattice(e, d, case.frame_lengths, case.label_lengths)


def dense(p: Case, q: Case) -> Tensor:
    a, b = (x.logits() - x.logits().mean(-1, keepdim=True) for x in (p, q))
    return (a - b).square().mean(-1)


def learnt(distance: Tensor, p: Case, q: Case) -> tuple[Tensor, ...]:
    weights = torch.linspace(0.5, 2, distance.numel(), dtype=distance.dtype).view_as(distance)
    return torch.autograd.grad((distance * weights)[p.real_cells()].sum(), [*p.leaves, *q.leaves])


@few
@given(cases("additive"), st.sampled_from([0.1, 1.0, 100.0]), st.integers(0, 1000))
def test_matches_dense(p: Case, scale: float, seed: int) -> None:
    q = partner(p, "additive", seed, scale)
    distance, expected = squared_distance(lattice(p), lattice(q)), dense(p, q)
    assert distance.shape == expected.shape
    assert bool((distance >= 0).all())
    real = p.real_cells()
    assert_close(distance[real], expected[real], rtol=1e-9, atol=1e-9 * scale**2)
    for mine, theirs in zip(learnt(distance, p, q), learnt(expected, p, q), strict=True):
        assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * scale)


def test_gradcheck() -> None:
    p = make_case("additive", [4, 2], [1, 3], V=4, more_frames=1, more_labels=1)
    q = partner(p, "additive", 1, 1.0)
    real = p.real_cells()
    torch.autograd.gradcheck(
        lambda a, b, c, d: squared_distance(lattice(p, a, b), lattice(q, c, d))[real],
        (*p.leaves, *q.leaves),
    )


def test_a_constant_of_a_frame_or_position_is_no_distance() -> None:
    p = make_case("additive", [4, 2], [1, 3], V=4)
    e, d = p.leaves
    other = lattice(p, e + torch.randn(2, 4, 1), d - 7)
    distance = squared_distance(lattice(p), other)
    assert_close(distance, torch.zeros_like(distance))


def test_lattices_of_different_shapes_are_refused() -> None:
    p, q = make_case("additive", [4], [3]), make_case("additive", [5], [3])
    with pytest.raises(ValueError, match="they must be equal"):
        squared_distance(lattice(p), lattice(q))

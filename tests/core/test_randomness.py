"""Named random streams: a function of their name, and invisible from outside."""

import pytest
import torch
from torch import Tensor

from codert.learning.randomness import stream


def drawn(*name: object) -> Tensor:
    with stream(*name):
        return torch.rand(4)


def test_a_stream_is_a_function_of_its_name() -> None:
    first = drawn(0, "student", "encoder")
    torch.manual_seed(123)
    torch.rand(7)
    assert torch.equal(drawn(0, "student", "encoder"), first)


def test_other_names_are_other_streams() -> None:
    names: list[tuple[object, ...]] = [
        (),
        (0,),
        ("0",),
        (1,),
        (0, "a"),
        (0, "b"),
        ("a", 0),
        (0, "a", "b"),
        (0, "ab"),
        (0, "a", 1),
        (0, "a", 11),
        (0, "a1", 1),
    ]
    draws = {tuple(drawn(*name).tolist()) for name in names}
    assert len(draws) == len(names)


def test_the_outside_goes_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    drawn(0, "x")
    assert torch.equal(torch.rand(4), expected)


def test_the_outside_is_left_alone_by_an_error_too() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()

    def fail() -> None:
        with stream("x"):
            torch.rand(4)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_nest() -> None:
    with stream("outer"):
        expected = torch.rand(4), torch.rand(4)
    with stream("outer"):
        first = torch.rand(4)
        inner = drawn("inner")
        second = torch.rand(4)
    assert torch.equal(inner, drawn("inner"))
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


def test_a_stream_reaches_initialisation_and_dropout() -> None:
    def made() -> tuple[Tensor, Tensor]:
        with stream(0, "student"):
            layer = torch.nn.Linear(3, 3)
            return layer.weight, torch.nn.functional.dropout(torch.ones(20), 0.5)

    (weight, mask), (same_weight, same_mask) = made(), made()
    assert torch.equal(weight, same_weight)
    assert torch.equal(mask, same_mask)

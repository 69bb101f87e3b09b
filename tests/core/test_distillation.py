"""The divergences against their definitions, and the encoder-logit loss around them."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import (
    DIVERGENCES,
    Divergence,
    centred,
    centred_decoder,
    compare,
    decoder_logit_loss,
    encoder_logit_loss,
    hidden_loss,
)
from codert.distillation.divergences import alpha_divergence, jensen_shannon, kl, l2, reverse_kl
from codert.lattice import AdditiveLattice

from .brute_force import few, make_case

NAMES: tuple[Divergence, ...] = ("kl", "reverse_kl", "jensen_shannon", "alpha", "l2", "cosine")
divergences = pytest.mark.parametrize("name", NAMES)


def at_temperatures(*temperatures: float) -> pytest.MarkDecorator:
    """Every divergence at each, but the cosine at 1 alone."""
    pairs = [(n, t) for n in NAMES for t in temperatures if n != "cosine" or t == 1]
    return pytest.mark.parametrize(("name", "temperature"), pairs)


def normal(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def definition(name: Divergence, teacher: list[float], student: list[float]) -> float:
    """One position in plain Python."""

    def softmax(logits: list[float]) -> list[float]:
        powers = [math.exp(x - max(logits)) for x in logits]
        return [x / math.fsum(powers) for x in powers]

    def relative(p: list[float], q: list[float]) -> float:
        return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    p, q = softmax(teacher), softmax(student)
    if name == "kl":
        return relative(p, q)
    if name == "reverse_kl":
        return relative(q, p)
    if name == "jensen_shannon":
        middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        return (relative(p, middle) + relative(q, middle)) / 2
    if name == "alpha":  # at 0.5
        return 4 * (1 - math.fsum(math.sqrt(x * y) for x, y in zip(p, q, strict=True)))
    V = len(teacher)
    a = [x - math.fsum(teacher) / V for x in teacher]
    b = [x - math.fsum(student) / V for x in student]
    if name == "cosine":
        lengths = math.hypot(*a) * math.hypot(*b)
        return 1 - math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths
    return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / V


def defined_loss(
    name: Divergence, teacher: Tensor, student: Tensor, lengths: list[int], temperature: float = 1
) -> float:
    values = [
        temperature**2
        * definition(
            name, (teacher[b, t] / temperature).tolist(), (student[b, t] / temperature).tolist()
        )
        for b, length in enumerate(lengths)
        for t in range(length)
    ]
    return math.fsum(values) / len(values)


def test_every_named_divergence_is_there() -> None:
    assert set(DIVERGENCES) == set(NAMES)


@divergences
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_definitions(name: Divergence, scale: float) -> None:
    teacher, student = normal(3, 5, scale=scale), normal(3, 5, seed=1, scale=scale)
    expected = [
        definition(name, a.tolist(), b.tolist()) for a, b in zip(teacher, student, strict=True)
    ]
    found = DIVERGENCES[name](teacher, student)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@at_temperatures(0.5, 1.0, 4.0)
def test_gradcheck(name: Divergence, temperature: float) -> None:
    teacher, student = normal(2, 3, 4).requires_grad_(), normal(2, 3, 4, seed=1).requires_grad_()
    lengths = torch.tensor([3, 1])
    torch.autograd.gradcheck(
        lambda a, b: encoder_logit_loss(a, b, lengths, name, temperature), (teacher, student)
    )


@divergences
def test_zero_for_equal_distributions_and_nothing_to_learn(name: Divergence) -> None:
    teacher = normal(2, 3, 6)
    student = (teacher + normal(2, 3, 1, seed=1)).requires_grad_()
    lengths = torch.tensor([3, 2])
    loss = encoder_logit_loss(teacher, student, lengths, name)
    assert_close(loss, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(loss, [student])
    assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)
    other = encoder_logit_loss(teacher, student + normal(6, seed=2), lengths, name)
    assert float(other.detach()) > 0.01


@divergences
def test_a_constant_per_frame_does_not_count(name: Divergence) -> None:
    teacher, student = normal(4, 6), normal(4, 6, seed=1)
    moved = DIVERGENCES[name](
        teacher + normal(4, 1, seed=2, scale=30), student + normal(4, 1, seed=3, scale=30)
    )
    assert_close(moved, DIVERGENCES[name](teacher, student), rtol=1e-9, atol=1e-9)


rows = st.lists(st.floats(-50, 50), min_size=4, max_size=4)


@few
@given(rows, rows, st.sampled_from(NAMES))
def test_divergences_are_not_negative(a: list[float], b: list[float], name: Divergence) -> None:
    teacher, student = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
    assert float(DIVERGENCES[name](teacher, student)) >= -1e-12
    single = float(DIVERGENCES[name](teacher.float(), student.float()))
    assert single >= -1e-5


@few
@given(rows, rows)
def test_jensen_shannon_is_symmetric_and_at_most_log_two(a: list[float], b: list[float]) -> None:
    teacher, student = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
    one, other = jensen_shannon(teacher, student), jensen_shannon(student, teacher)
    assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert float(one) <= math.log(2) + 1e-12


def test_jensen_shannon_of_disjoint_distributions_is_log_two() -> None:
    teacher, student = torch.tensor([200.0, 0, 0]), torch.tensor([0, 200.0, 0])
    assert_close(float(jensen_shannon(teacher, student)), math.log(2))


@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.5, 0.9])
def test_alpha_divergence_is_its_definition(alpha: float) -> None:
    teacher, student = normal(6, 5), normal(6, 5, seed=1)
    p, q = teacher.softmax(-1), student.softmax(-1)
    expected = (1 - (p**alpha * q ** (1 - alpha)).sum(-1)) / (alpha * (1 - alpha))
    assert_close(compare(teacher, student, "alpha", alpha=alpha), expected)
    assert_close(alpha_divergence(student, teacher, 1 - alpha), expected)


def test_alpha_lies_between_reverse_kl_and_kl() -> None:
    teacher, student = normal(6, 5), normal(6, 5, seed=1)
    for alpha, limit in ((1 - 1e-7, kl), (1e-7, reverse_kl)):
        found = alpha_divergence(teacher, student, alpha)
        assert_close(found, limit(teacher, student), rtol=1e-4, atol=1e-6)


def test_alpha_divergence_of_disjoint_distributions_is_bounded_and_moves_nothing() -> None:
    teacher = torch.tensor([0.0, -torch.inf, -torch.inf])
    student = torch.tensor([-torch.inf, 0.0, 1.0], requires_grad=True)
    value = alpha_divergence(teacher, student, 0.25)
    assert_close(float(value.detach()), 1 / (0.25 * 0.75))
    (gradient,) = torch.autograd.grad(value, [student])
    assert bool((gradient == 0).all())


def test_cosine_knows_directions_alone() -> None:
    teacher, student = normal(4, 6), normal(4, 6, seed=1)
    cosine = DIVERGENCES["cosine"]
    assert_close(cosine(teacher, 7 * student), cosine(teacher, student))
    assert_close(cosine(teacher, -teacher), torch.full((4,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"divergence": "kld"}, "'kld'; write kl or reverse_kl or jensen_shannon or alpha or l2"),
        ({"divergence": "cosine", "temperature": 2.0}, "does not feel a temperature"),
        ({"divergence": "alpha", "alpha": 1.0}, "alpha is 1.0; write 0.01 to 0.99, or .* kl for 1"),
        ({"divergence": "alpha", "alpha": 1e-5}, "alpha is 1e-05"),
        ({"temperature": 0.0}, "temperature is 0.0; write a number above 0"),
    ],
)
def test_what_cannot_be_compared_so_is_refused(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        encoder_logit_loss(normal(1, 3, 5), normal(1, 3, 5), torch.tensor([3]), **keys)


def test_directions_differ_and_mirror() -> None:
    teacher, student = normal(5, 4), normal(5, 4, seed=1)
    assert_close(kl(teacher, student), reverse_kl(student, teacher))
    assert not torch.allclose(kl(teacher, student), kl(student, teacher), rtol=1e-2)
    assert_close(l2(teacher, student), l2(student, teacher))


@at_temperatures(0.5, 1.0, 2.0, 8.0)
def test_loss_is_the_mean_over_real_frames(name: Divergence, temperature: float) -> None:
    teacher, student = normal(3, 4, 5), normal(3, 4, 5, seed=1)
    lengths = [4, 1, 0]
    loss = encoder_logit_loss(teacher, student, torch.tensor(lengths), name, temperature)
    assert loss.shape == ()
    expected = defined_loss(name, teacher, student, lengths, temperature)
    assert_close(float(loss), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_temperature_keeps_the_size_of_the_gradient(name: Divergence) -> None:
    teacher, student = normal(2, 3, 5), normal(2, 3, 5, seed=1).requires_grad_()
    lengths = torch.tensor([3, 2])

    def size(temperature: float) -> float:
        loss = encoder_logit_loss(teacher, student, lengths, name, temperature)
        return float(torch.autograd.grad(loss, [student])[0].norm())

    assert_close(size(200), size(100), rtol=0.02, atol=0)
    assert 0.1 < size(100) / size(1) < 10


def test_l2_does_not_feel_the_temperature() -> None:
    teacher, student = normal(2, 3, 5), normal(2, 3, 5, seed=1)
    lengths = torch.tensor([3, 2])
    assert_close(
        encoder_logit_loss(teacher, student, lengths, "l2", 7.0),
        encoder_logit_loss(teacher, student, lengths, "l2"),
    )


@divergences
@pytest.mark.parametrize("filling", [math.nan, math.inf, 1e30])
def test_padding_may_hold_anything(name: Divergence, filling: float) -> None:
    teacher, student = normal(2, 4, 5), normal(2, 4, 5, seed=1)
    lengths = torch.tensor([4, 2])
    expected = encoder_logit_loss(teacher, student, lengths, name)
    for x in (teacher, student):
        x[1, 2:] = filling
        x.requires_grad_()
    loss = encoder_logit_loss(teacher, student, lengths, name)
    assert torch.equal(loss.detach(), expected)
    for gradient in torch.autograd.grad(loss, [teacher, student]):
        assert bool(gradient.isfinite().all())
        assert bool((gradient[1, 2:] == 0).all())
        assert bool((gradient[1, :2] != 0).all())


@divergences
@pytest.mark.parametrize("B", [0, 2])
def test_no_frames_cost_nothing(name: Divergence, B: int) -> None:
    teacher, student = normal(B, 3, 5), normal(B, 3, 5, seed=1).requires_grad_()
    loss = encoder_logit_loss(teacher, student, torch.zeros(B, dtype=torch.long), name)
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, [student])
    assert bool((gradient == 0).all())


@divergences
def test_gradient_reaches_the_teacher_only_where_it_is_not_detached(name: Divergence) -> None:
    teacher, student = normal(1, 3, 5).requires_grad_(), normal(1, 3, 5, seed=1).requires_grad_()
    lengths = torch.tensor([3])
    both = torch.autograd.grad(
        encoder_logit_loss(teacher, student, lengths, name), [teacher, student]
    )
    assert float(both[0].abs().min()) > 0
    alone = torch.autograd.grad(
        encoder_logit_loss(teacher.detach(), student, lengths, name),
        [teacher, student],
        allow_unused=True,
    )
    assert alone[0] is None
    assert torch.equal(alone[1], both[1])


@pytest.mark.parametrize("loss", [encoder_logit_loss, decoder_logit_loss, hidden_loss])
@pytest.mark.parametrize(
    ("lengths", "complaint"),
    [
        (torch.tensor([1.0, 0.6]), "write whole numbers"),
        (torch.tensor([4, 2], dtype=torch.uint8), "write whole numbers, int64"),
        (torch.tensor([40, 24]), "do not lie within"),
        (torch.tensor([3]), "one per utterance"),
    ],
)
def test_lengths_that_are_none_are_refused(loss: Any, lengths: Tensor, complaint: str) -> None:
    """Shares, as SpeechBrain has them, or frames before subsampling would be believed."""
    with pytest.raises(ValueError, match=complaint):
        loss(torch.zeros(2, 10, 5), torch.ones(2, 10, 5), lengths)


@pytest.mark.parametrize("shape", [(1, 3, 6), (2, 3, 5)])
@pytest.mark.parametrize("loss", [encoder_logit_loss, decoder_logit_loss])
def test_shape_error_names_both(loss: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 5\)") as error:
        loss(torch.zeros(1, 3, 5), torch.zeros(*shape), torch.tensor([2]))
    assert str(shape) in str(error.value)


def test_other_numbers_of_frames_or_positions_are_refused() -> None:
    logits = torch.zeros(1, 3, 5), torch.zeros(1, 4, 5), torch.tensor([3])
    with pytest.raises(ValueError, match="3 frames, the student 4, and the ratio is 1; give both"):
        encoder_logit_loss(*logits)
    with pytest.raises(ValueError, match=r"\(1, 3, 5\) and the student's \(1, 4, 5\)"):
        decoder_logit_loss(*logits)


@at_temperatures(0.5, 1.0)
@pytest.mark.parametrize("size", [100.0, 10_000.0])
def test_extreme_logits_in_float32(name: Divergence, size: float, temperature: float) -> None:
    signs = normal(2, 6, 5).sign(), normal(2, 6, 5, seed=1).sign()
    teacher, student = ((size * x).float().requires_grad_() for x in signs)
    exact = [(size * x).requires_grad_() for x in signs]
    lengths = torch.tensor([6, 4])
    loss = encoder_logit_loss(teacher, student, lengths, name, temperature)
    expected = encoder_logit_loss(exact[0], exact[1], lengths, name, temperature)
    assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(loss, [teacher, student]),
        torch.autograd.grad(expected, exact),
        strict=True,
    ):
        assert bool(mine.isfinite().all())
        assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("name", NAMES[:4])
def test_small_divergences_in_float32_teach_in_the_right_direction(name: Divergence) -> None:
    # The value, 1e-8, is lost beside the roundings; the gradient to the student is not.
    teacher = normal(1, 4, 6).float()
    student = (teacher + 1e-3 * normal(1, 4, 6, seed=1).float()).requires_grad_()
    exact = student.detach().double().requires_grad_()
    lengths = torch.tensor([4])
    (mine,) = torch.autograd.grad(encoder_logit_loss(teacher, student, lengths, name), [student])
    (theirs,) = torch.autograd.grad(
        encoder_logit_loss(teacher.double(), exact, lengths, name), [exact]
    )
    assert_close(mine.double(), theirs, rtol=0, atol=2e-2 * float(theirs.abs().max()))


@at_temperatures(1.0, 3.0)
def test_half_precision_only_rounds_the_inputs(name: Divergence, temperature: float) -> None:
    half = [normal(2, 3, 5, seed=i).bfloat16() for i in range(2)]
    lengths = torch.tensor([3, 2])
    expected = encoder_logit_loss(half[0].float(), half[1].float(), lengths, name, temperature)
    with torch.autocast("cpu", torch.bfloat16):
        loss = encoder_logit_loss(half[0], half[1], lengths, name, temperature)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_centred_moves_the_mean_decoder_logits_into_the_encoder() -> None:
    e, d = normal(2, 3, 4), normal(2, 4, 4, seed=1)
    d[1, 2:] = torch.nan  # behind the label length
    seen = [*d[0, :4], *d[1, :2]]
    mean = torch.stack(seen).mean(0)
    assert_close(centred(e, d, torch.tensor([3, 1])), e + mean)


def test_what_is_left_of_the_decoder_is_the_rest_of_the_same_joint() -> None:
    e, d = normal(2, 3, 4), normal(2, 4, 4, seed=1)
    lengths = torch.tensor([3, 1])
    d[1, 2:] = torch.nan
    moved, left = centred(e, d, lengths), centred_decoder(d, lengths)
    joint = moved[:, :, None] + left[:, None]
    assert_close(joint, e[:, :, None] + d[:, None], equal_nan=True)
    assert_close(torch.stack([*left[0], *left[1, :2]]).mean(0), torch.zeros(4).double())


@at_temperatures(0.5, 1.0)
def test_decoder_logits_are_compared_at_every_label_position(
    name: Divergence, temperature: float
) -> None:
    teacher, student = normal(3, 4, 5), normal(3, 4, 5, seed=1)
    lengths = torch.tensor([3, 1, 0])
    expected = defined_loss(name, teacher, student, [4, 2, 1], temperature)
    for x in (teacher, student):
        x[1, 2:] = torch.nan
        x[2, 1:] = torch.inf
    student.requires_grad_()
    loss = decoder_logit_loss(teacher, student, lengths, name, temperature)
    assert_close(float(loss.detach()), expected, rtol=1e-9, atol=1e-12)
    (gradient,) = torch.autograd.grad(loss, [student])
    assert bool(gradient.isfinite().all())
    assert bool((gradient[1, 2:] == 0).all())
    assert bool((gradient[2, :1] != 0).all())


@divergences
def test_gradcheck_of_decoder_logits(name: Divergence) -> None:
    teacher, student = normal(2, 3, 4).requires_grad_(), normal(2, 3, 4, seed=1).requires_grad_()
    lengths = torch.tensor([2, 0])
    torch.autograd.gradcheck(
        lambda a, b: decoder_logit_loss(a, b, lengths, name), (teacher, student)
    )


def test_centred_does_not_depend_on_the_gauge() -> None:
    case = make_case("additive", [4, 2], [1, 3], V=6)
    e, d = (x.detach() for x in case.leaves)
    c = normal(6, seed=5, scale=10)
    lengths = case.frame_lengths, case.label_lengths
    assert_close(centred(e + c, d - c, lengths[1]), centred(e, d, lengths[1]))

    teacher, student = (e, d), (normal(*e.shape, seed=8), normal(*d.shape, seed=9))
    moved = student[0] + c, student[1] - c

    def matched(s: tuple[Tensor, Tensor], gauge: bool) -> Tensor:
        pair = [centred(*x, lengths[1]) if gauge else x[0] for x in (teacher, s)]
        return encoder_logit_loss(pair[0], pair[1], lengths[0])

    # The same joint, yet another loss; not so in the centred gauge.
    assert_close(
        AdditiveLattice(*moved, *lengths).scores(case.labels).blank[0, :, :2],
        AdditiveLattice(*student, *lengths).scores(case.labels).blank[0, :, :2],
    )
    assert not torch.allclose(matched(moved, False), matched(student, False), rtol=1e-2)
    assert_close(matched(moved, True), matched(student, True))

"""Encoders: padding, batch mates, streaming, and modules of the user's own."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from codert.config import build
from codert.errors import InputError
from codert.models.encoder import (
    EncoderConfig,
    Lookahead,
    LSTMEncoder,
    LSTMEncoderConfig,
)
from codert.models.front_end import FrontEnd
from codert.models.module_encoder import ModuleEncoderConfig
from codert.models.recogniser import Recogniser, RecogniserConfig

F = 5
CONFIGS = [
    LSTMEncoderConfig(channels=6, width=8, layers=2),
    LSTMEncoderConfig(channels=6, strides=(2,), kernel=3, width=6, layers=1),
    LSTMEncoderConfig(channels=6, strides=(3, 1, 2), kernel=3, width=8, layers=1),
    LSTMEncoderConfig(channels=6, strides=(1,), kernel=1, width=8, layers=1),
    LSTMEncoderConfig(channels=6, strides=(1, 4), kernel=7, width=8, layers=1),
    LSTMEncoderConfig(channels=6, width=8, layers=2, lookahead=2),
]
FULL = [replace(config, context="full") for config in CONFIGS[:2]]


def name(config: LSTMEncoderConfig) -> str:
    return f"{config.strides}x{config.kernel} {config.context} {config.lookahead}"


configs = pytest.mark.parametrize("config", CONFIGS + FULL, ids=name)


class Whole(nn.Module):
    """A front end and the layers behind it."""

    def __init__(self, config: LSTMEncoderConfig) -> None:
        super().__init__()
        self.front_end = FrontEnd(config.front_end, F)
        self.layers = config.build(self.front_end.width)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        layers, lengths = self.layers(*self.front_end(features, lengths))
        return layers[-1], lengths


def encoder(config: LSTMEncoderConfig, train: bool = False) -> nn.Module:
    torch.manual_seed(0)
    whole = Whole(config).double().train(train)
    for module in whole.modules():
        if isinstance(module, Lookahead):  # which begins as the identity
            nn.init.normal_(module.weight)
    return whole


def utterance(length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, F, generator=generator, dtype=torch.float64)


def batched(utterances: list[Tensor], filling: float = 0.0, more: int = 0) -> tuple[Tensor, Tensor]:
    lengths = [len(x) for x in utterances]
    batch = torch.full((len(lengths), max(lengths) + more, F), filling, dtype=torch.float64)
    for row, x in zip(batch, utterances, strict=True):
        row[: len(x)] = x
    return batch, torch.tensor(lengths)


@configs
@pytest.mark.parametrize("filling", [0.0, 1e3, math.nan, math.inf])
def test_an_utterance_does_not_depend_on_mates_or_padding(
    config: LSTMEncoderConfig, filling: float
) -> None:
    model = encoder(config)
    utterances = [utterance(n, seed=n) for n in (11, 24, 1, 7)]
    together, lengths = model(*batched(utterances, filling, more=9))
    for x, row, length in zip(utterances, together, lengths.tolist(), strict=True):
        alone, (own,) = model(*batched([x]))
        assert own == length == alone.shape[1]
        assert_close(row[:length], alone[0], rtol=1e-10, atol=1e-10)


@configs
@pytest.mark.parametrize("filling", [0.0, 1e3, math.nan])
def test_training_ignores_padding(config: LSTMEncoderConfig, filling: float) -> None:
    bare, padded = encoder(config, train=True), encoder(config, train=True)
    utterances = [utterance(n, seed=n) for n in (9, 14, 4)]
    expected, lengths = bare(*batched(utterances))
    found, same = padded(*batched(utterances, filling, more=13))
    assert torch.equal(lengths, same)
    for a, b, length in zip(found, expected, lengths.tolist(), strict=True):
        assert_close(a[:length], b[:length], rtol=1e-9, atol=1e-9)
    for name, buffer in bare.named_buffers():
        assert_close(padded.get_buffer(name), buffer, rtol=1e-9, atol=1e-9)
        if name.endswith("running_mean"):
            assert bool((buffer != 0).any())

    real = [x[:n].square().sum() for x, n in zip(found, lengths.tolist(), strict=True)]
    torch.autograd.backward(torch.stack(real).sum())
    for parameter in padded.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())


def test_batch_norm_statistics_are_those_of_the_real_frames() -> None:
    config = LSTMEncoderConfig(channels=6, strides=(2,), kernel=3, width=6, layers=1)
    model = encoder(config, train=True)
    (convolution,) = [m for m in model.modules() if isinstance(m, nn.Conv1d)]
    (norm,) = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    utterances = [utterance(n, seed=n) for n in (9, 14, 4)]
    with torch.no_grad():
        frames = torch.cat([convolution(x.T[None])[0].T for x in utterances])
        model(*batched(utterances, math.nan, more=5))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert_close(norm.running_mean, 0.1 * frames.mean(0))
    assert_close(norm.running_var, 0.9 + 0.1 * frames.var(0))


def test_a_batch_of_a_single_frame_is_normalised_as_in_inference() -> None:
    model = encoder(CONFIGS[0], train=True)
    model(*batched([utterance(30)]))  # so that the statistics are no longer those of the beginning
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    single = batched([utterance(1)], math.nan, more=6)
    expected, _ = model.eval()(*single)
    found, lengths = model.train()(*single)
    assert lengths.tolist() == [1]
    assert torch.equal(found[0, 0], expected[0, 0])
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    torch.autograd.backward(found[0, 0].square().sum())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())

    # Two frames of which the second stride leaves one: a batch by itself for the first alone.
    model(*batched([utterance(4)]))
    moved = [
        name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])
    ]
    assert moved
    assert all(name.startswith("front_end.convolutions.0.") for name in moved)


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_look_ahead_is_that_of_the_kernels_and_the_configured(config: LSTMEncoderConfig) -> None:
    of_kernels, rate = 0, 1
    for stride in config.strides:
        of_kernels += config.kernel // 2 * rate
        rate *= stride
    look_ahead = of_kernels + config.lookahead * rate
    model = encoder(config)
    T = 30
    features = utterance(T)[None].requires_grad_()
    output, _ = model(features, torch.tensor([T]))
    for t in range(output.shape[1]):
        (gradient,) = torch.autograd.grad(output[0, t].square().sum(), features, retain_graph=True)
        read = gradient[0].abs().sum(1).nonzero()[:, 0]
        latest = t * rate + look_ahead
        # Near the end, a long stride may leave the very last frames unread.
        last = min(latest, (output.shape[1] - 1) * rate + of_kernels)
        assert int(read.max()) == latest if latest < T else int(read.max()) > last - of_kernels
        assert int(read.min()) == 0


def test_look_ahead_weighs_the_frames_to_come_by_channel() -> None:
    """Behind the end there are zeros; it begins as the identity."""
    layer = Lookahead(F, 2).double()
    x, lengths = batched([utterance(6), utterance(3, 1)], math.nan)
    assert torch.equal(layer(x, lengths)[1, :3], x[1, :3])
    weight = torch.randn(3, F, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    found = layer(x, lengths)
    for row, start, length in zip(found, x, lengths.tolist(), strict=True):
        for t in range(length):
            expected = sum(weight[i] * start[t + i] for i in range(3) if t + i < length)
            assert_close(row[t], expected)


def test_what_cannot_look_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        LSTMEncoderConfig(lookahead=-1)
    with pytest.raises(ValueError, match="every frame is heard; leave lookahead out"):
        LSTMEncoderConfig(context="full", lookahead=1)


@pytest.mark.parametrize("config", FULL, ids=name)
def test_with_full_context_every_frame_hears_the_whole_utterance(config: LSTMEncoderConfig) -> None:
    model = encoder(config)
    T = 30
    features = utterance(T)[None].requires_grad_()
    output, _ = model(features, torch.tensor([T]))
    assert output.shape[-1] == config.width
    for t in range(output.shape[1]):
        (gradient,) = torch.autograd.grad(output[0, t].square().sum(), features, retain_graph=True)
        read = gradient[0].abs().sum(1)
        # Near the end, a long stride may leave the very last frames unread.
        assert bool((read[: T - config.subsampling] > 0).all())
    assert not RecogniserConfig(config).streams
    assert RecogniserConfig(replace(config, context="past")).streams


def test_full_context_is_a_bidirectional_lstm() -> None:
    """torch's own, on packed sequences, is the reference."""
    layer: Any = LSTMEncoder(LSTMEncoderConfig(width=8, layers=1, context="full"), F).double()
    layer = layer.layers[0]
    reference = nn.LSTM(F, 4, batch_first=True, bidirectional=True).double()
    for direction, suffix in ((layer.lstm, ""), (layer.back, "_reverse")):
        for key, weights in direction.state_dict().items():
            reference.get_parameter(key + suffix).data.copy_(weights)
    x, lengths = batched([utterance(n, seed=n) for n in (9, 14, 1)])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    found = layer(x, lengths)
    for row, heard, start, length in zip(found, expected, x, lengths.tolist(), strict=True):
        both = layer.norm(layer.skip(start[:length]) + heard[:length])
        assert_close(row[:length], both, rtol=1e-10, atol=1e-10)


@configs
def test_subsampling_is_the_actual_one(config: LSTMEncoderConfig) -> None:
    model = encoder(config)
    for T in range(1, 26):
        output, lengths = model(utterance(T)[None], torch.tensor([T]))
        assert output.shape == (1, math.ceil(T / config.subsampling), config.width)
        assert lengths.tolist() == [output.shape[1]]
        assert bool(output.isfinite().all())


def test_an_utterance_without_frames_leaves_its_mates_alone() -> None:
    model = encoder(CONFIGS[0])
    batch, lengths = batched([utterance(9), utterance(5, 1)], math.nan)
    lengths[1] = 0
    output, lengths = model(batch, lengths)
    assert lengths.tolist() == [3, 0]
    assert_close(output[0], model(*batched([utterance(9)]))[0][0])


class Pooling(nn.Module):
    """A user's encoder: the mean of each `rate` frames."""

    def __init__(self, features: int, rate: int = 2) -> None:
        super().__init__()
        self.width, self.rate = features, rate

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames = features.shape[1] // self.rate * self.rate
        shape = len(features), -1, self.rate, self.width
        return features[:, :frames].reshape(shape).mean(2), lengths // self.rate


class Widthless(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()


def not_a_module(features: int) -> object:
    return object()


def user_encoder(name: str, options: dict[str, Any] | None = None) -> EncoderConfig:
    given = {"kind": "module", "module": name, "subsampling": 3, "options": options or {}}
    return build(ModuleEncoderConfig, given, "plan.yaml")


def test_a_module_of_the_users_own() -> None:
    config = user_encoder(f"{__name__}:Pooling", {"rate": 3})
    recogniser = Recogniser.build(RecogniserConfig(encoder=config), F, symbols=7).double()
    assert any(isinstance(module, Pooling) for module in recogniser.encoder.modules())
    features = utterance(9)[None]
    encoded = recogniser.encode(features, torch.tensor([9]))
    assert encoded.lengths.tolist() == [3]
    expected = recogniser.encoder.projection(features.reshape(1, 3, 3, F).mean(2))
    assert_close(encoded.joint, expected)


def test_a_module_that_rounds_down_has_its_last_frame_twice() -> None:
    config = user_encoder(f"{__name__}:Pooling", {"rate": 3})
    recogniser = Recogniser.build(RecogniserConfig(encoder=config), F, symbols=7).double()
    batch, lengths = batched([utterance(11), utterance(7, 1)])
    encoded = recogniser.encode(batch, lengths)
    assert encoded.lengths.tolist() == [4, 3]
    assert encoded.joint.shape[1] == 4
    assert_close(encoded.joint[0, 3], encoded.joint[0, 2])
    assert_close(encoded.joint[1, 2], encoded.joint[1, 1])
    assert_close(
        encoded.joint[1, 1], recogniser.encode(utterance(7, 1)[None], lengths[1:]).joint[0, 1]
    )


@pytest.mark.parametrize("rate", [1, 7])
def test_a_module_of_another_subsampling_is_refused(rate: int) -> None:
    config = user_encoder(f"{__name__}:Pooling", {"rate": rate})
    recogniser = Recogniser.build(RecogniserConfig(encoder=config), F, symbols=7).double()
    with pytest.raises(InputError, match=r"Pooling made .* of 21, .* subsampling: 3"):
        recogniser.encode(utterance(21)[None], torch.tensor([21]))


class Narrow(Pooling):
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, lengths = super().forward(features, lengths)
        return frames[..., 1:], lengths


class Fractional(Pooling):
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, lengths = super().forward(features, lengths)
        return frames, lengths.double()


class Forgetful(Pooling):
    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(features, lengths)[0]


@pytest.mark.parametrize("name", ["Narrow", "Fractional", "Forgetful"])
def test_a_module_of_another_shape_is_refused(name: str) -> None:
    config = user_encoder(f"{__name__}:{name}", {"rate": 3})
    recogniser = Recogniser.build(RecogniserConfig(encoder=config), F, symbols=7).double()
    with pytest.raises(InputError, match=rf"{name} made .* it must make"):
        recogniser.encode(utterance(21)[None], torch.tensor([21]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_package:Class", {}, "no_such_package"),
        (f"{__name__}:NoSuchClass", {}, "NoSuchClass"),
        (f"{__name__}:Pooling", {"speed": 3}, "speed"),
        (f"{__name__}:Widthless", {}, "width"),
        (f"{__name__}:not_a_module", {}, "torch module"),
        (":Class", {}, ":Class"),
        (".relative:Class", {}, ".relative:Class"),
    ],
)
def test_modules_that_cannot_be_used(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        user_encoder(name, options).build(F)
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["package.Class", "a:b:c"])
def test_a_module_is_named_with_one_colon(name: str) -> None:
    with pytest.raises(InputError, match=r"package\.module:Class"):
        user_encoder(name)


def test_features_are_normalised_before_the_encoder() -> None:
    torch.manual_seed(0)
    recogniser = Recogniser.build(RecogniserConfig(encoder=CONFIGS[0]), F, 7).double().eval()
    features, lengths = utterance(9)[None], torch.tensor([9])
    expected = recogniser.encode(features, lengths)
    mean, deviation = torch.arange(F) * 3.0, torch.arange(F) + 0.5
    recogniser.front_end.normalise_by(mean, deviation)
    found = recogniser.encode(features * deviation + mean, lengths)
    assert_close(found.joint, expected.joint)
    assert {"front_end.mean", "front_end.deviation"} <= set(recogniser.state_dict())

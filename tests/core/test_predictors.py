"""Predictors: whole sequences equal single steps, and see no label too early or too late."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from codert.config import build
from codert.errors import InputError
from codert.models.predictor import (
    LSTMPredictorConfig,
    Predictor,
    PredictorConfig,
    StatelessPredictorConfig,
)
from codert.models.recogniser import Decoder, RecogniserConfig

V = 7
CONFIGS: list[PredictorConfig] = [
    StatelessPredictorConfig(context=1, width=6),
    StatelessPredictorConfig(context=2, width=6),
    StatelessPredictorConfig(context=3, width=6),
    LSTMPredictorConfig("lstm", layers=1, width=6),
    LSTMPredictorConfig("lstm", layers=2, width=6),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=str)


def predictor(config: PredictorConfig, dtype: torch.dtype = torch.float64) -> Predictor:
    torch.manual_seed(0)
    model = config.build(V)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.to(dtype).eval()


def labels(B: int, U: int, seed: int = 0) -> Tensor:
    return torch.randint(1, V, (B, U), generator=torch.Generator().manual_seed(seed))


@configs
@pytest.mark.parametrize("U", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_equal_the_whole(config: PredictorConfig, U: int, dtype: torch.dtype) -> None:
    model, given = predictor(config, dtype), labels(3, U)
    whole = model(given)
    assert whole.shape == (3, U + 1, model.width)
    state = model.initial_state(3, torch.device("cpu"))
    for u, label in enumerate(torch.cat([torch.zeros(3, 1).long(), given], 1).T):
        output, state = model.step(label, state)
        assert_close(output, whole[:, u])


@configs
def test_a_position_sees_the_labels_before_it_and_no_others(config: PredictorConfig) -> None:
    model, given = predictor(config), labels(1, 6)
    before = model(given)
    for changed in range(6):
        other = given.clone()
        other[0, changed] = given[0, changed] % (V - 1) + 1
        differs = (model(other) != before).any(-1)[0].tolist()
        context = config.context if isinstance(config, StatelessPredictorConfig) else 6
        # Label `changed` is first seen at position changed + 1.
        assert differs == [changed < u <= changed + context for u in range(7)]


@configs
def test_utterances_do_not_mix(config: PredictorConfig) -> None:
    model, given = predictor(config), labels(4, 5)
    together = model(given)
    for b in range(4):
        assert_close(together[b : b + 1], model(given[b : b + 1]))


@configs
def test_training_draws_dropout_and_inference_does_not(config: PredictorConfig) -> None:
    model, given = predictor(replace(config, dropout=0.5)), labels(2, 4)
    assert torch.equal(model(given), model(given))
    model.train()
    assert not torch.equal(model(given), model(given))


@configs
@pytest.mark.parametrize("B", [0, 2])
def test_empty_sequences(config: PredictorConfig, B: int) -> None:
    assert predictor(config)(labels(B, 0)).shape == (B, 1, 6)


@configs
def test_the_decoder_projects_without_a_bias(config: PredictorConfig) -> None:
    torch.manual_seed(0)
    decoder = Decoder(RecogniserConfig(predictor=config), V).double().eval()
    given = labels(2, 3)
    predicted = decoder(given)
    assert_close(predicted.logits, decoder.predictor(given) @ decoder.projection.weight.T)
    assert predicted.joint is predicted.logits
    stepped, _ = decoder.step(
        torch.zeros(2).long(), decoder.predictor.initial_state(2, torch.device("cpu"))
    )
    assert_close(stepped, predicted.joint[:, 0])


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (StatelessPredictorConfig, {"context": 0}),
        (StatelessPredictorConfig, {"width": 0}),
        (LSTMPredictorConfig, {"kind": "lstm", "layers": 0}),
        (LSTMPredictorConfig, {"kind": "lstm", "width": -1}),
    ],
)
def test_impossible_dimensions_are_refused(cls: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"plan.yaml: predictor: .*at least 1"):
        build(cls, wrong, "plan.yaml", "predictor")

"""Edges between hidden layers, and the projection that such an edge owns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codert.data.batches import Batch
from codert.distillation import hidden_loss
from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CHECKPOINT

from ..tiny import tiny_plan

CPU, SYMBOLS = torch.device("cpu"), 9
Weights = dict[str, torch.Tensor]


@pytest.fixture
def run(corpus: Path, cache: Path, tmp_path: Path) -> Any:
    def go(plan: Plan, name: str = "run") -> Outcome:
        return train(plan, [corpus], tmp_path / name, cache, CPU)

    return go


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths, labels = torch.tensor([30, 22]), torch.tensor([[1, 2, 3], [4, 4, 0]])
    return Batch(0, ["a", "b"], torch.randn(2, 30, 80), lengths, labels, torch.tensor([3, 2]))


def plan_of(settings: Path, recipe: str = "tandem", over: Any = None, **keys: object) -> Plan:
    edge = {"from": "teacher", "to": "student", "match": "hidden", **keys}
    return tiny_plan(recipe, settings, edges=[edge], **(over or {}))


def weights(outcome: Outcome, name: str) -> Weights:
    return load_file(outcome.recognisers[name] / "weights.safetensors")


def equal(a: Weights, b: Weights) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_with_weight_0_it_changes_nobody_though_it_has_weights(run: Any, settings: Path) -> None:
    tandem = run(plan_of(settings, weight=0), "tandem")
    for name, recipe in (("student", "alone"), ("teacher", "teacher")):
        assert equal(weights(tandem, name), weights(run(tiny_plan(recipe, settings), name), name))


def test_its_projection_learns_and_is_in_no_recogniser(run: Any, settings: Path) -> None:
    plan = plan_of(settings)
    drawn = Ensemble.build(plan, 80, SYMBOLS).projection(0)
    assert drawn is not None
    outcome = run(plan)
    state = load_file(outcome.recognisers["student"].parent / CHECKPOINT)
    learnt = state["weights/edges[0]/projection.weight"]
    assert learnt.shape == (16, 8)
    assert not torch.equal(learnt, drawn.get_parameter("weight"))
    assert "optimiser/edges[0]/0/exp_avg" in state
    alone = run(tiny_plan("alone", settings), "alone")
    taught, untaught = weights(outcome, "student"), weights(alone, "student")
    assert taught.keys() == untaught.keys()
    assert not equal(taught, untaught)
    teacher = run(tiny_plan("teacher", settings), "teacher")
    assert equal(weights(outcome, "teacher"), weights(teacher, "teacher"))


@pytest.mark.parametrize("distance", ["mse", "cosine"])
@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_it_is_the_hidden_loss_of_the_layers_named(
    layer: int, distance: Any, settings: Path, batch: Batch
) -> None:
    plan = plan_of(settings, teacher_layer=layer, distance=distance)
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    found = objective(plan, ensemble, batch, 0.5, (0, 0)).terms["hidden/student"]
    encoded = ensemble.encode((0, 0), batch.features, batch.frame_lengths, ())
    projection = ensemble.projection(0)
    assert projection is not None
    # The joint reads what the last layer gives.
    student = encoded["student"]
    recogniser = ensemble.live["student"]
    assert torch.equal(recogniser.encoder.projection(student.layers[-1]), student.joint)
    assert [len(encoded[name].layers) for name in ("teacher", "student")] == [2, 1]
    expected = hidden_loss(
        encoded["teacher"].layers[layer], projection(student.layers[0]), student.lengths, distance
    )
    torch.testing.assert_close(found, expected.detach())


def test_equal_widths_need_no_projection(settings: Path, batch: Batch) -> None:
    over = {"models": {"large": {"encoder": {"width": 8}}}}
    plan = plan_of(settings, over=over)
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    assert ensemble.projection(0) is None
    assert "hidden/student" in objective(plan, ensemble, batch, 0.5, (0, 0)).terms


def test_a_finished_teacher_and_an_average_teach_it_too(run: Any, settings: Path) -> None:
    finished = run(tiny_plan("teacher", settings), "teacher").recognisers["teacher"]
    over = {"recognisers": {"teacher": {"frozen": str(finished)}}}
    before = load_file(finished / "weights.safetensors")
    static = run(plan_of(settings, "static", over, distance="cosine"), "static")
    assert equal(before, load_file(finished / "weights.safetensors"))
    average = run(plan_of(settings, "mean-teacher"), "average")
    alone = weights(run(tiny_plan("alone", settings), "alone"), "student")
    for outcome in (static, average):
        assert not equal(weights(outcome, "student"), alone)


def test_to_both_it_teaches_the_teacher_as_well(settings: Path, batch: Batch) -> None:
    taught = {}
    for gradient in ("both", "student"):
        plan = plan_of(settings, gradient=gradient)
        ensemble = Ensemble.build(plan, 80, SYMBOLS)
        torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
        (parameter, *_) = ensemble.live["teacher"].encoder.parameters()
        taught[gradient] = parameter.grad
    assert taught["both"] is not None
    assert taught["student"] is not None
    assert not torch.equal(taught["both"], taught["student"])


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("distance: l1", "write 'mse' or 'cosine'"),
        ("temperature: 2", r"edges\[0\]: temperature is of logits"),
        ("divergence: kl", "divergence is not a known key"),
        ("teacher_layer: last", "write a whole number"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keys: str, complaint: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "models: {a: {}}\nrecognisers: {t: {model: a}, s: {model: a}}\n"
        f"edges: [{{from: t, to: s, match: hidden, {keys}}}]"
    )
    with pytest.raises(InputError, match=complaint):
        read_plan(path)


@pytest.mark.parametrize(("side", "layer", "layers"), [("teacher", 2, 2), ("student", -2, 1)])
def test_a_layer_that_is_not_there_is_named(
    side: str, layer: int, layers: int, settings: Path
) -> None:
    keys: dict[str, Any] = {f"{side}_layer": layer}
    plan = plan_of(settings, **keys)
    complaint = rf"edges\[0\]: {side}_layer is {layer}, and its encoder has {layers} layers"
    with pytest.raises(InputError, match=complaint):
        Ensemble.build(plan, 80, SYMBOLS)

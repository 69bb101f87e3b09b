"""Graphs of more than one edge: several teachers, several students, and each other's teachers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codert.data.batches import Batch
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import Plan
from codert.learning.run import Outcome, train

from ..tiny import tiny_plan

CPU = torch.device("cpu")
Weights = dict[str, torch.Tensor]
matches = pytest.mark.parametrize("match", ["encoder_logits", "lattice"])


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


def weights(outcome: Outcome, name: str) -> Weights:
    return load_file(outcome.recognisers[name] / "weights.safetensors")


def equal(a: Weights, b: Weights) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def gradients(plan: Plan, batch: Batch) -> Weights:
    """Of a step, by OWNER.PART and so on."""
    ensemble = Ensemble.build(plan, 80, 9)
    torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
    groups = torch.nn.ModuleDict(ensemble.groups)
    return {n: p.grad for n, p in groups.named_parameters() if p.grad is not None}


@matches
def test_what_several_teachers_teach_adds_up(match: str, settings: Path, batch: Batch) -> None:
    members = {
        "finished": {"frozen": None, "average": {"of": "student"}},
        "beside": {"model": "large"},
    }
    plan = tiny_plan("several-teachers", settings, recognisers=members, edge={"match": match})
    first, second = plan.edges
    both, one, other, none = (
        gradients(replace(plan, edges=edges), batch)
        for edges in (plan.edges, (first,), (second,), ())
    )
    for name in both:
        total = one[name] + other[name] - none[name]
        torch.testing.assert_close(both[name], total, atol=1e-4, rtol=1e-4)
    taught = [n for n in both if n.startswith("student.encoder.")]
    for each in (one, other):
        assert all(not torch.equal(each[n], none[n]) for n in taught)
    assert all(torch.equal(both[n], none[n]) for n in both if n.startswith("beside."))


@matches
def test_each_of_several_students_learns_as_if_it_were_the_only_one(
    match: str, run: Any, settings: Path
) -> None:
    over: dict[str, Any] = {"models": {"middle": {"encoder": {"channels": 8, "width": 12}}}}
    plan = tiny_plan("several-students", settings, edge={"match": match}, **over)
    together = run(plan, "together")
    for student, edge in zip(("student", "bigger"), plan.edges, strict=True):
        members = {n: plan.recognisers[n] for n in ("teacher", student)}
        one = run(replace(plan, recognisers=members, edges=(edge,)), student)
        for name in members:
            assert equal(weights(together, name), weights(one, name))


@matches
def test_two_that_teach_each_other_both_learn_from_it(match: str, run: Any, settings: Path) -> None:
    plan = tiny_plan("mutual", settings, edge={"match": match})
    forth, back = plan.edges
    both, one, apart = (
        run(replace(plan, edges=edges), name)
        for name, edges in {"both": (forth, back), "one": (forth,), "apart": ()}.items()
    )
    for name in ("student", "peer"):
        assert not equal(weights(both, name), weights(apart, name))
    # An edge leaves its teacher as it is; what comes back is the other edge's doing.
    assert equal(weights(one, "student"), weights(apart, "student"))
    assert not equal(weights(one, "peer"), weights(apart, "peer"))
    assert not equal(weights(one, "peer"), weights(both, "peer"))


@pytest.mark.parametrize(
    "match",
    [
        {"match": "encoder_logits", "gauge": "centred"},
        {"match": "lattice"},
        {"match": "collapsed"},
        {"match": "path_posterior"},
        {"match": "sequence"},
    ],
)
@pytest.mark.parametrize(
    ("teacher", "members"),
    [
        # The student keeps the decoder that it shares; or the teacher does.
        ("mean", {"mean": {"average": {"of": "teacher"}, "role": "teacher"}}),
        ("teacher", {"teacher": {"keep": ["decoder"]}, "student": {"keep": []}}),
    ],
)
def test_no_edge_changes_a_shared_decoder_that_one_of_its_ends_keeps(
    match: dict[str, str], teacher: str, members: dict[str, Any], settings: Path, batch: Batch
) -> None:
    edges = [{"from": teacher, "to": "student", **match}]
    plan = tiny_plan("borrowed-decoder", settings, recognisers=members, edges=edges)
    with_edge, without = (gradients(replace(plan, edges=each), batch) for each in (plan.edges, ()))
    of_decoder = [name for name in with_edge if name.startswith("shared.decoder.")]
    assert of_decoder
    assert all(torch.equal(with_edge[name], without[name]) for name in of_decoder)
    assert any(not torch.equal(with_edge[n], without[n]) for n in without if "student" in n)

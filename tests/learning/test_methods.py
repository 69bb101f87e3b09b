"""Every recipe in recipes/methods: it trains, and its edges teach the student alone."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codert.config import merged, nested
from codert.data.batches import Batch
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.run import train
from codert.learning.run_folder import CURVES

from ..tiny import RECIPES, tiny_plan

CPU, SYMBOLS = torch.device("cpu"), 9
METHODS = sorted(p.stem for p in (RECIPES / "methods").glob("*.yaml"))
methods = pytest.mark.parametrize("method", METHODS)


def plan_of(method: str, settings: Path, teacher: Path) -> Plan:
    over: dict[str, object] = {}
    for keys in tiny_plan(f"methods/{method}", settings).needs:
        over = merged(over, nested(("recognisers", *keys), str(teacher)))
    return tiny_plan(f"methods/{method}", settings, **over)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths, labels = torch.tensor([31, 22]), torch.tensor([[1, 2, 3], [4, 4, 0]])
    return Batch(0, ["a", "b"], torch.randn(2, 31, 80), lengths, labels, torch.tensor([3, 2]))


@methods
def test_it_is_a_plan_of_that_name(method: str) -> None:
    plan = read_plan(RECIPES / "methods" / f"{method}.yaml")
    assert plan.strategy == method
    assert plan.edges


@methods
def test_it_trains(
    method: str, settings: Path, teacher: Path, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    plan = plan_of(method, settings, teacher)
    outcome = train(plan, [corpus], tmp_path, cache, CPU)
    assert set(outcome.recognisers) == set(plan.live)
    curves = outcome.recognisers["student"].parent / CURVES
    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    for edge in plan.edges:
        taught = [x[term] for x in lines if (term := f"{edge.match}/student") in x]
        assert taught
        assert all(math.isfinite(loss) and loss > 0 for loss in taught)


@methods
def test_its_edges_teach_the_student_alone(
    method: str, settings: Path, teacher: Path, batch: Batch
) -> None:
    plan = plan_of(method, settings, teacher)
    ensemble = Ensemble.build(plan, 80, SYMBOLS)

    def gradients(some: Plan) -> dict[str, torch.Tensor]:
        groups = torch.nn.ModuleDict(ensemble.groups)
        groups.zero_grad()
        torch.autograd.backward(objective(some, ensemble, batch, 0.5, (0, 0)).total)
        return {n: p.grad.clone() for n, p in groups.named_parameters() if p.grad is not None}

    with_edges, again = gradients(plan), gradients(plan)
    without = gradients(replace(plan, edges=()))
    reached = {
        name.split(".")[0]
        for name in with_edges
        if name not in without  # an edge's own weights
        or not torch.allclose(with_edges[name], without[name], rtol=1e-3, atol=1e-5)
    }
    assert reached - {f"edges[{i}]" for i in range(len(plan.edges))} == {"student"}
    # What an edge draws is named by the run's seed, its place and the step.
    for name in with_edges:
        assert torch.equal(with_edges[name], again[name]), name

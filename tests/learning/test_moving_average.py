"""A teacher that is the moving average of its student."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codert.data.batches import Batch
from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.learning.moving_average import MovingAverage
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CHECKPOINT
from codert.learning.trainer import Trainer
from codert.models.folder import load_recogniser
from codert.models.recogniser import Recogniser, RecogniserConfig

from ..tiny import tiny_plan

CPU = torch.device("cpu")
Weights = dict[str, torch.Tensor]


@pytest.fixture
def run(corpus: Path, cache: Path, tmp_path: Path) -> Any:
    def go(plan: Plan, name: str = "run", resume: bool = False) -> Outcome:
        return train(plan, [corpus], tmp_path / name, cache, CPU, resume)

    return go


def copied(module: torch.nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.95])
def test_the_average_is_the_plain_mean_and_then_decays(decay: float) -> None:
    live = Recogniser.build(RecogniserConfig(), 5, 7)
    average = MovingAverage(live, decay)
    seen = [copied(live)]
    expected = {name: w.double() for name, w in seen[0].items()}
    for updates in range(1, 8):
        with torch.no_grad():
            for tensor in live.state_dict().values():
                tensor += torch.randn(tensor.shape) if tensor.is_floating_point() else updates
        seen.append(copied(live))
        average.follow(updates)
        now = min(decay, 1 - 1 / (updates + 1))
        for name, mean in expected.items():
            if seen[0][name].is_floating_point():
                expected[name] = now * mean + (1 - now) * seen[-1][name].double()
                if updates + 1 <= 1 / (1 - decay):
                    plain = sum(each[name].double() for each in seen) / len(seen)
                    torch.testing.assert_close(expected[name], plain)
            else:
                expected[name] = seen[-1][name].double()
        for name, tensor in average.recogniser.state_dict().items():
            torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-5)
    if decay == 0:
        for name, tensor in average.recogniser.state_dict().items():
            assert torch.equal(tensor, seen[-1][name])
    average.follow(0)
    for name, tensor in average.recogniser.state_dict().items():
        assert torch.equal(tensor, seen[-1][name])


def test_the_average_has_no_gradient_and_stays_in_inference(settings: Path) -> None:
    plan = tiny_plan("mean-teacher", settings)
    ensemble = Ensemble.build(plan, 80, 9)
    ensemble.train()
    teacher = ensemble.made["teacher"]
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert "teacher" not in ensemble.groups
    features, lengths = torch.randn(2, 30, 80), torch.tensor([30, 22])
    before = copied(teacher)
    encoded = ensemble.encode((0, 0), features, lengths, {"teacher"})
    assert not encoded["teacher"].logits.requires_grad
    assert encoded["student"].logits.requires_grad
    assert all(torch.equal(before[n], w) for n, w in teacher.state_dict().items())


def test_a_run_ends_with_the_average_of_what_its_student_was(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Weights] = []
    update = Trainer._update

    def noted(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        if not seen:
            seen.append(copied(self.ensemble.live["student"]))
        values = update(self, group)
        seen.append(copied(self.ensemble.live["student"]))
        return values

    monkeypatch.setattr(Trainer, "_update", noted)
    # Few updates and a long decay: the plain mean.
    members = {"teacher": {"average": {"decay": 0.9999}}}
    plan = tiny_plan("mean-teacher", settings, recognisers=members, training={"epochs": 1})
    folder = run(plan).recognisers["teacher"]
    found, card = load_recogniser(folder)
    assert card.role == "teacher"
    assert card.model == plan.live["student"]
    for name, tensor in found.state_dict().items():
        if tensor.is_floating_point():
            mean = torch.stack([each[name] for each in seen]).mean(0)
            torch.testing.assert_close(tensor, mean, atol=1e-4, rtol=1e-4)
        else:
            assert torch.equal(tensor, seen[-1][name])
    state = load_file(folder.parent / CHECKPOINT)
    assert any(name.startswith("weights/teacher/") for name in state)
    assert not any(name.startswith("optimiser/teacher/") for name in state)


def test_an_average_that_teaches_with_weight_0_changes_nothing(run: Any, settings: Path) -> None:
    edges = [{"from": "teacher", "to": "student", "weight": 0}]
    with_average = run(tiny_plan("mean-teacher", settings, edges=edges), "1").recognisers
    alone = run(tiny_plan("alone", settings), "2").recognisers
    one, other = (load_file(r["student"] / "weights.safetensors") for r in (with_average, alone))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_an_average_begins_where_its_student_starts(run: Any, settings: Path) -> None:
    first = run(tiny_plan("alone", settings), "first").recognisers["student"]
    members = {"student": {"start": str(first)}}
    plan = tiny_plan("mean-teacher", settings, recognisers=members)
    begun: list[Weights] = []

    def stopped(self: Trainer) -> None:
        begun.append(copied(self.ensemble.made["teacher"]))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(plan, "second")
    expected = load_file(first / "weights.safetensors")
    assert all(torch.equal(begun[0][name], expected[name]) for name in expected)
    # A finished average may teach as any other.
    folder = run(plan, "third").recognisers["teacher"]
    shutil.rmtree(first)
    run(tiny_plan("static", settings, recognisers={"teacher": {"frozen": str(folder)}}), "4")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ("t: {average: {of: x}}", r"t\.average\.of is 'x'; those that learn: s"),
        ("t: {average: {of: t}}", r"t\.average\.of is 't'"),
        ("t: {average: {of: s, decay: 1}}", r"t\.average: decay is from 0 to less than 1"),
        ("t: {average: {}}", r"t\.average\.of is missing"),
        ("t: {average: {of: s}, model: a}", "one of model: NAME, frozen: RUN and average"),
        ("t: {average: {of: s}, rate: 2}", "are of recognisers that learn"),
        (
            "t: {average: {of: s}}}\nedges: [{from: s, to: t, match: lattice}]\ntraining: {",
            r"edges\[0\]\.to is 't', which is an average and cannot learn",
        ),
        (
            "t: {average: {of: s}}}\nedges: [{from: t, to: s, match: lattice, gradient: both}]\n"
            "training: {",
            r"edges\[0\]\.gradient is 'both', but 't' is an average; write student",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, members: str, complaint: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"models: {{a: {{}}}}\nrecognisers: {{s: {{model: a}}, {members}}}")
    with pytest.raises(InputError, match=complaint):
        read_plan(path)

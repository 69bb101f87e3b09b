"""What recognisers share, and whom a plan's gradients reach."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codert.data.batches import Batch
from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import SHARED, Plan
from codert.learning.recipe import read_plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CHECKPOINT, CURVES
from codert.learning.trainer import Stopped, Trainer
from codert.models.folder import Card, save_recogniser
from codert.models.front_end import FrontEnd

from ..tiny import tiny_plan

CPU, SYMBOLS = torch.device("cpu"), 9
# One front end fits both.
ALIKE = {"large": {"encoder": {"channels": 8}}}
Gradients = dict[str, torch.Tensor]


def edge(match: str, **keys: object) -> dict[str, object]:
    return {"from": "teacher", "to": "student", "match": match, **keys}


def plan_of(settings: Path, share: list[str], *edges: dict[str, object]) -> Plan:
    return tiny_plan("tandem", settings, models=ALIKE, share=share, edges=list(edges))


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths, labels = torch.tensor([30, 22]), torch.tensor([[1, 2, 3], [4, 4, 0]])
    return Batch(0, ["a", "b"], torch.randn(2, 30, 80), lengths, labels, torch.tensor([3, 2]))


def gradients(plan: Plan, ensemble: Ensemble, batch: Batch) -> Gradients:
    """Of a step, by OWNER.PART and so on."""
    groups = torch.nn.ModuleDict(ensemble.groups)
    groups.zero_grad()
    torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
    return {n: p.grad.clone() for n, p in groups.named_parameters() if p.grad is not None}


def test_a_shared_front_end_runs_once_and_learns_from_both(
    settings: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(settings, ["front_end", "decoder"])
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    teacher, student = ensemble.live.values()
    assert teacher.front_end is student.front_end
    assert teacher.decoder is student.decoder
    assert teacher.encoder is not student.encoder

    calls = 0
    forward = FrontEnd.forward

    def counted(self: FrontEnd, *inputs: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        return forward(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(FrontEnd, "forward", counted)
        together = gradients(plan, ensemble, batch)
    assert calls == 1
    # A second pass would have moved the running statistics twice.
    assert student.front_end.convolutions[0].norm.num_batches_tracked == 1  # type: ignore[union-attr]

    apart = []
    for name in plan.live:
        others = {n: m for n, m in plan.recognisers.items() if n == name}
        one = Ensemble(ensemble.seed, {name: ensemble.live[name]}, {}, ensemble.groups)
        apart.append(gradients(replace(plan, recognisers=others, share=()), one, batch))
    shared = [name for name in together if name.startswith(f"{SHARED}.front_end.")]
    assert shared
    for name in shared:
        assert all(bool((each[name] != 0).any()) for each in apart)
        torch.testing.assert_close(together[name], apart[0][name] + apart[1][name])


@pytest.mark.parametrize(
    "taught",
    [
        edge("lattice"),
        edge("lattice", cells="best_path"),
        edge("collapsed"),
        edge("path_posterior"),
        edge("encoder_logits"),
        edge("encoder_logits", gauge="centred"),
    ],
)
@pytest.mark.parametrize("share", [[], ["decoder"], ["front_end"], ["front_end", "decoder"]])
def test_an_edge_to_the_student_reaches_of_what_is_shared_the_front_end_alone(
    taught: dict[str, object], share: list[str], settings: Path, batch: Batch
) -> None:
    plan = plan_of(settings, share, taught)
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    with_edge = gradients(plan, ensemble, batch)
    without = gradients(replace(plan, edges=()), ensemble, batch)
    reached = {
        ".".join(name.split(".")[:2])
        for name in with_edge
        if not torch.allclose(with_edge[name], without[name], rtol=1e-3, atol=1e-5)
    }
    expected = {"student.encoder"}
    expected.add(f"{SHARED if 'front_end' in share else 'student'}.front_end")
    # As trained, the encoder's logits know of no decoder.
    if "decoder" not in share and (taught["match"] != "encoder_logits" or "gauge" in taught):
        expected.add("student.decoder")
    assert reached == expected


def test_two_edges_that_match_the_same_are_both_recorded(settings: Path, batch: Batch) -> None:
    edges = edge("lattice"), edge("lattice", divergence="l2")
    terms = []
    for some in (edges, edges[:1], edges[1:]):
        plan = plan_of(settings, [], *some)
        ensemble = Ensemble.build(plan, 80, SYMBOLS)
        terms.append(objective(plan, ensemble, batch, 0.5, (0, 0)).terms["lattice/student"])
    torch.testing.assert_close(terms[0], terms[1] + terms[2])


def test_a_frozen_teacher_stays_as_it_is(settings: Path, batch: Batch, tmp_path: Path) -> None:
    plan = tiny_plan("teacher", settings)
    teacher = Ensemble.build(plan, 80, SYMBOLS).live["teacher"]
    card = Card(
        plan.live["teacher"],
        SYMBOLS,
        {"mels": 80, "rate": 16000, "window_ms": 25.0, "shift_ms": 10.0},
        "teacher",
        "teacher",
        "",
    )
    save_recogniser(tmp_path, teacher, card)
    frozen = {"recognisers": {"teacher": {"frozen": str(tmp_path)}}}
    plan = tiny_plan("static", settings, **frozen)
    ensemble = Ensemble.build(plan, 80, SYMBOLS)
    ensemble.train(False)
    ensemble.train()
    learnt = gradients(plan, ensemble, batch)
    assert all(name.startswith("student.") for name in learnt)
    held = ensemble.frozen["teacher"]
    assert not any(module.training for module in held.modules())
    assert not any(p.requires_grad or p.grad is not None for p in held.parameters())
    for name, tensor in held.state_dict().items():
        assert torch.equal(tensor, teacher.state_dict()[name]), name

    # What it hears is compared whole, not in the number of bands alone.
    plan = tiny_plan("static", settings, **frozen, features={"high_frequency": 7000.0})
    with pytest.raises(InputError, match=r"it hears .*-400.* the plan makes .*7000"):
        Ensemble.build(plan, 80, SYMBOLS)


def test_a_front_end_without_weights_is_not_shared(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "models: {a: {encoder: {kind: module, module: 'x:Y', subsampling: 1}}}\n"
        "recognisers: {t: {model: a}, s: {model: a}}\nshare: [front_end]\n"
    )
    with pytest.raises(InputError, match="front end of 't' has no convolutions"):
        read_plan(path)


@pytest.mark.parametrize("at", [2, 5])
def test_a_run_with_all_shared_resumes_bit_equal(
    at: int,
    settings: Path,
    corpus: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(settings, ["front_end", "decoder"], edge("lattice"))

    def go(name: str, resume: bool = False) -> Outcome:
        return train(plan, [corpus], tmp_path / name, cache, CPU, resume)

    whole = go("whole")
    update, count = Trainer._update, 0

    def interrupted(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        nonlocal count
        count += 1
        if count == at:
            signal.raise_signal(signal.SIGTERM)
        return update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        with pytest.raises(Stopped):
            go("broken")
    # A line that was being written when the run was killed.
    with (tmp_path / "broken" / CURVES).open("a", encoding="utf-8") as curves:
        curves.write('{"update": 1, "prog')
    resumed = go("broken", resume=True)
    files = [(tmp_path / name / CHECKPOINT) for name in ("whole", "broken")]
    files += [r.recognisers[n] / "weights.safetensors" for n in plan.live for r in (whole, resumed)]
    for one, other in zip(files[::2], files[1::2], strict=True):
        expected, found = load_file(one), load_file(other)
        assert expected.keys() == found.keys()
        for name in expected:
            assert torch.equal(expected[name], found[name]), name
    owners = {name.split("/")[1] for name in load_file(files[0])}
    assert owners == {SHARED, "teacher", "student"}
    lines = [
        [
            {**json.loads(x), "core_seconds": 0}
            for x in (tmp_path / n / CURVES).read_text().splitlines()
        ]
        for n in ("whole", "broken")
    ]
    assert lines[0] == lines[1]

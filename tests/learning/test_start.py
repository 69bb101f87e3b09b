"""Recognisers that start from finished ones: what they take, keep and learn."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codert.data.batches import Batch
from codert.data.wordpieces import WordPieces
from codert.errors import InputError
from codert.learning.ensemble import MODULES, Ensemble
from codert.learning.objective import objective
from codert.learning.plan import PARTS, Part, Plan
from codert.learning.recipe import read_plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CHECKPOINT
from codert.learning.start import start
from codert.learning.trainer import Trainer
from codert.models.folder import WORDPIECES, load_recogniser

from ..tiny import RECIPES, TINY, tiny_plan

CPU = torch.device("cpu")
Weights = dict[str, torch.Tensor]


@pytest.fixture
def run(corpus: Path, cache: Path, tmp_path: Path) -> Any:
    def go(plan: Plan, name: str = "run", resume: bool = False) -> Outcome:
        return train(plan, [corpus], tmp_path / name, cache, CPU, resume)

    return go


def weights(folder: Path) -> Weights:
    return load_file(folder / "weights.safetensors")


def below(weights: Weights, *modules: str) -> Weights:
    return {n: w for n, w in weights.items() if n.split(".")[0] in modules}


def assert_bit_equal(a: Weights, b: Weights) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def started(plan: Plan, folder: Path) -> Ensemble:
    wordpieces = WordPieces.load(folder / WORDPIECES)
    ensemble = Ensemble.build(plan, plan.features.mels, len(wordpieces))
    start(plan, ensemble, wordpieces)
    return ensemble


def test_what_starts_whole_from_a_run_begins_as_that_recogniser(
    settings: Path, teacher: Path
) -> None:
    plan = tiny_plan("teacher", settings, recognisers={"teacher": {"start": str(teacher)}})
    assert plan.recognisers["teacher"].start == dict.fromkeys(PARTS, str(teacher))
    ensemble = started(plan, teacher)
    ensemble.train(False)
    found, expected = ensemble.live["teacher"], load_recogniser(teacher)[0]
    assert_bit_equal(found.state_dict(), expected.state_dict())
    assert bool((found.front_end.mean != 0).any())
    heard = torch.randn(2, 30, 80), torch.tensor([30, 22])
    assert torch.equal(found.encode(*heard).logits, expected.encode(*heard).logits)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_and_the_others_are_drawn_as_ever(
    part: str, settings: Path, teacher: Path
) -> None:
    over: dict[str, Any] = {"recognisers": {"teacher": {"start": {part: str(teacher)}}}}
    begun = started(tiny_plan("teacher", settings, **over), teacher).live["teacher"].state_dict()
    drawn = started(tiny_plan("teacher", settings), teacher).live["teacher"].state_dict()
    modules = MODULES[part]  # type: ignore[index]
    assert_bit_equal(below(begun, *modules), below(weights(teacher), *modules))
    others = {module for each in PARTS if each != part for module in MODULES[each]}
    assert_bit_equal(below(begun, *others), below(drawn, *others))


@pytest.mark.parametrize(
    "keep", [["decoder"], ["front_end"], ["encoder"], ["front_end", "encoder"]]
)
def test_what_is_kept_stays_as_it_is_and_the_rest_learns(
    keep: list[Any], run: Any, settings: Path, teacher: Path
) -> None:
    member = {"start": str(teacher), "keep": keep}
    folder = run(tiny_plan("teacher", settings, recognisers={"teacher": member})).recognisers
    before, after = weights(teacher), weights(folder["teacher"])
    kept = {module for part in keep for module in MODULES[part]}
    assert_bit_equal(below(before, *kept), below(after, *kept))
    for module in {"front_end", "encoder", "decoder"} - kept:
        assert any(
            not torch.equal(before[n], after[n]) for n in below(before, module) if "weight" in n
        ), module


def test_what_is_kept_neither_drops_nor_moves_its_statistics(settings: Path, teacher: Path) -> None:
    """The second pass over a batch says what the first said, though the rest is in training."""
    member = {"start": str(teacher), "keep": ["front_end", "decoder"]}
    ensemble = started(tiny_plan("teacher", settings, recognisers={"teacher": member}), teacher)
    ensemble.train(False)
    ensemble.train()
    assert ensemble.live["teacher"].encoder.training
    labels = torch.tensor([[2, 3, 4]])
    said = [ensemble.predict(step, labels, ())["teacher"].logits for step in (0, 1)]
    assert torch.equal(*said)
    features = torch.randn(2, 30, 80), torch.tensor([30, 22])
    frames = [ensemble._each("front_end", step, *features)["teacher"][0] for step in (0, 1)]
    assert torch.equal(*frames)


def test_a_gradient_passes_what_is_kept(settings: Path, teacher: Path) -> None:
    member = {"start": str(teacher), "keep": ["encoder"]}
    plan = tiny_plan("teacher", settings, recognisers={"teacher": member})
    ensemble = started(plan, teacher)
    ensemble.train()
    features, lengths = torch.randn(2, 30, 80), torch.tensor([30, 22])
    labels = torch.tensor([[2, 3], [4, 0]])
    batch = Batch(0, ["a", "b"], features, lengths, labels, torch.tensor([2, 1]))
    torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
    recogniser = ensemble.live["teacher"]
    assert all(p.grad is None for p in recogniser.encoder.parameters())
    assert all(p.grad is not None for p in recogniser.front_end.parameters())


def test_a_student_has_a_trained_decoder_with_an_edge_and_without(
    run: Any, settings: Path, teacher: Path
) -> None:
    student = {"start": {"decoder": str(teacher)}, "keep": ["decoder"]}
    alone = run(tiny_plan("alone", settings, recognisers={"student": student}), "alone")
    members = {"student": student, "teacher": {"frozen": str(teacher)}}
    taught = run(tiny_plan("static", settings, recognisers=members), "taught")
    one, other = (weights(r.recognisers["student"]) for r in (alone, taught))
    assert_bit_equal(below(one, "decoder"), below(other, "decoder"))
    assert any(not torch.equal(one[n], other[n]) for n in below(one, "encoder"))


def test_what_recognisers_of_a_model_begin_with_is_said_once(settings: Path) -> None:
    """A shared part begins as the first one's model says, or as a recogniser says itself."""
    start = {"large": "runs/big", "small": {"encoder": "runs/little", "decoder": "runs/little"}}

    def starts(recipe: str, **over: Any) -> dict[str, dict[Part, str]]:
        members = tiny_plan(recipe, settings, start=start, **over).recognisers
        return {name: member.start for name, member in members.items()}

    every = dict.fromkeys(PARTS, "runs/big")
    assert starts("teacher") == {"teacher": every}
    assert starts("static") == {"teacher": {}, "student": start["small"]}
    assert starts("tandem") == {"teacher": every, "student": start["small"]}
    assert starts("implicit") == {"teacher": every, "student": {"encoder": "runs/little"}}

    own = {"student": {"start": {"decoder": "runs/own"}}}
    assert starts("tandem", recognisers=own)["student"] == {
        "encoder": "runs/little",
        "decoder": "runs/own",
    }
    found = starts("implicit", recognisers=own)
    assert found["teacher"] == {"front_end": "runs/big", "encoder": "runs/big"}
    assert found["student"] == {"encoder": "runs/little", "decoder": "runs/own"}

    start["small"]["encoder"] = None  # type: ignore[index]
    assert starts("implicit") == {"teacher": every, "student": {}}
    drawn = {"teacher": {"start": {"decoder": None, "encoder": None}}}
    found = starts("implicit", recognisers=drawn)
    assert found == {"teacher": {"front_end": "runs/big"}, "student": {}}
    start["large"] = None  # type: ignore[assignment]
    assert starts("teacher") == {"teacher": {}}


def test_what_settings_name_is_found_from_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    settings = tmp_path / "mine" / "settings.yaml"
    settings.write_text(
        TINY.replace("wordpieces: {size: 9}", "wordpieces: {model: ../big/wordpieces.model}")
        + "start: {large: ../big, small: {encoder: /else/where}}\n"
    )
    plan = tiny_plan("tandem", settings)
    big = str(tmp_path / "big")
    assert plan.wordpieces.model == f"{big}/wordpieces.model"
    assert plan.recognisers["teacher"].start == dict.fromkeys(PARTS, big)
    assert plan.recognisers["student"].start == {"encoder": "/else/where"}


@pytest.mark.parametrize(
    "recipe",
    [
        p
        for p in sorted(RECIPES.glob("**/*.yaml"))
        if "\nsettings:" in p.read_text()
        and "frozen:" not in p.read_text()
        and "experiments" not in p.parts
    ],
    ids=lambda path: path.stem,
)
def test_what_recipes_start_from_fits_them(recipe: Path) -> None:
    plan = read_plan(recipe)
    pieces = WordPieces.load(Path(plan.wordpieces.model or ""))
    ensemble = Ensemble.build(plan, plan.features.mels, len(pieces))
    start(plan, ensemble, pieces)
    begun = [(n, p, f) for n, m in plan.recognisers.items() for p, f in m.start.items()]
    for name, part, folder in begun:
        theirs = load_recogniser(Path(folder))[0]
        for module in MODULES[part]:
            ours = ensemble.live[name].get_submodule(module).state_dict()
            for key, value in theirs.get_submodule(module).state_dict().items():
                assert torch.equal(ours[key], value)
    # Big ones have heard other speech; where a front end is shared, neither has its size.
    big = {name for name, m in plan.recognisers.items() if m.model == "large"}
    assert {name for name, *_ in begun} == (set() if "front_end" in plan.share else big)


def test_a_look_ahead_that_the_finished_one_lacks_begins_as_the_identity(
    settings: Path, teacher: Path
) -> None:
    plan = tiny_plan(
        "teacher",
        settings,
        recognisers={"teacher": {"start": str(teacher)}},
        models={"large": {"encoder": {"lookahead": 2}}},
    )
    begun = started(plan, teacher).live["teacher"].eval()
    finished = load_recogniser(teacher)[0].eval()
    features, lengths = torch.randn(2, 30, 80), torch.tensor([30, 22])
    found, expected = begun.encode(features, lengths), finished.encode(features, lengths)
    for b, length in enumerate(found.lengths.tolist()):
        assert torch.equal(found.logits[b, :length], expected.logits[b, :length])


def test_weights_of_another_frame_rate_are_refused(settings: Path, teacher: Path) -> None:
    plan = tiny_plan(
        "teacher",
        settings,
        recognisers={"teacher": {"start": {"front_end": str(teacher)}}},
        models={"large": {"encoder": {"strides": [2, 4]}}},
    )
    with pytest.raises(InputError, match=r"start\.front_end: .*one frame for 4 .* for 8; give"):
        started(plan, teacher)


def test_a_wheel_holds_what_the_settings_name() -> None:
    """At the same place beside the recipes as in the repository."""
    wheel = tomllib.loads((RECIPES.parent / "pyproject.toml").read_text())
    inside = wheel["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for file in (RECIPES / "settings").glob("*.yaml"):
        plan = read_plan(RECIPES / "tandem.yaml", file)
        named = {Path(f) for m in plan.recognisers.values() for f in m.start.values()}
        if plan.wordpieces.model:
            named.add(Path(plan.wordpieces.model).parent)
        for folder in named:
            place = str(folder.relative_to(RECIPES.parent))
            assert inside[place] == f"codert/{place}"
            assert (folder / WORDPIECES).is_file()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("runs/big", "start is 'runs/big'; write MODEL: RUN"),
        (["runs/big"], r"start is \['runs/big'\]; write MODEL: RUN"),
        ({"large": 3}, r"start\.large is 3; write the folder of a run, or one by part"),
        ({"large": ""}, r"start\.large is ''; write the folder of a run"),
        (
            {"small": {"encoder": False}},
            r"start\.small\.encoder is False; write a run's folder, or",
        ),
        ({"larg": "runs/big"}, r"start\.larg is not a known key; did you mean 'large'"),
        ({"small": {"decodr": "r"}}, r"start\.small\.decodr .* did you mean 'decoder'"),
    ],
)
def test_a_wrong_start_of_a_model_is_refused(start: Any, message: str, settings: Path) -> None:
    with pytest.raises(InputError, match=message):
        tiny_plan("teacher", settings, start=start)


@pytest.mark.parametrize("keep", [[], ["decoder"]])
def test_a_shared_decoder_starts_and_stays_where_all_keep_it(
    keep: list[str], run: Any, settings: Path, teacher: Path
) -> None:
    members = {"teacher": {"start": str(teacher), "keep": keep}, "student": {"keep": keep}}
    plan = tiny_plan("tandem-shared", settings, recognisers=members, training={"epochs": 1})
    outcome = run(plan)
    before = below(weights(teacher), "decoder")
    for folder in outcome.recognisers.values():
        after = below(weights(folder), "decoder")
        assert all(torch.equal(before[n], after[n]) for n in before) == bool(keep)
    owners = {n.split("/")[1] for n in load_file(folder.parent / CHECKPOINT) if "optimiser" in n}
    assert owners == {"teacher", "student"} | (set() if keep else {"shared"})


@pytest.mark.parametrize("part", ["decoder", "front_end"])
@pytest.mark.parametrize("joint", ["additive", "mlp"])
def test_a_shared_part_that_one_keeps_learns_from_the_others_alone(
    part: Any, joint: str, settings: Path
) -> None:
    """Its gradient is the one that the teacher alone gives."""
    share = ["decoder", "front_end"]
    model: dict[str, Any] = {"encoder": {"channels": 8}}
    if joint == "mlp":
        model["joint"] = {"kind": "mlp", "head_weight": 0.5}
    over: dict[str, Any] = {"share": share, "models": {"large": model, "small": model}}
    kept = {"recognisers": {"student": {"keep": [part]}}}

    def gradients(plan: Plan) -> dict[str, Weights]:
        ensemble = Ensemble.build(plan, plan.features.mels, 6)
        ensemble.train()
        features, lengths = torch.randn(2, 30, 80), torch.tensor([30, 22])
        labels = torch.tensor([[2, 3], [4, 0]])
        batch = Batch(0, ["a", "b"], features, lengths, labels, torch.tensor([2, 1]))
        torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
        named = ensemble.groups["shared"].named_parameters()
        found: dict[str, Weights] = {"decoder": {}, "front_end": {}}
        for name, weight in named:
            if weight.grad is not None:
                found["front_end" if name.startswith("front_end") else "decoder"][name] = (
                    weight.grad
                )
        return found

    torch.manual_seed(0)
    taught = gradients(tiny_plan("implicit", settings, **over, **kept))
    torch.manual_seed(0)
    both = gradients(tiny_plan("implicit", settings, **over))
    torch.manual_seed(0)
    everything = {"recognisers": {"student": {"keep": share}}}
    of_teacher = gradients(tiny_plan("implicit", settings, **over, **everything))
    (other,) = set(share) - {part}
    assert taught[part].keys() == both[part].keys()
    for name, gradient in of_teacher[part].items():
        torch.testing.assert_close(taught[part][name], gradient)
        assert not torch.equal(gradient, both[part][name])
    for name, gradient in both[other].items():
        torch.testing.assert_close(taught[other][name], gradient)


def test_a_stopped_run_needs_its_start_no_more_and_resumes_bit_equal(
    run: Any, settings: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "here" / teacher.parent.name / teacher.name
    shutil.copytree(teacher, own)
    student = {"start": {"decoder": str(own)}, "keep": ["decoder"], "rate": 2.0}

    def plan_of(start: Path) -> Plan:
        student["start"] = {"decoder": str(start)}
        members = {"student": student, "teacher": {"start": str(start)}}
        return tiny_plan("tandem", settings, recognisers=members)

    whole = run(plan_of(own), "whole")
    update, count = Trainer._update, 0

    def interrupted(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(plan_of(own), "broken")
    # Its folder is gone; where it lay is no setting.
    shutil.rmtree(own)
    moved = tmp_path / "there" / teacher.parent.name / teacher.name
    resumed = run(plan_of(moved), "broken", resume=True)
    for name, folder in whole.recognisers.items():
        assert_bit_equal(weights(folder), weights(resumed.recognisers[name]))
    with pytest.raises(InputError, match="begun with other settings"):
        run(plan_of(moved.with_name("other")), "broken", resume=True)


def test_a_rate_is_of_a_members_own_weights(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {}
    save = Trainer.save

    def noted(self: Trainer) -> None:
        for owner, optimiser in self.optimisers.items():
            rates[owner] = optimiser.param_groups[0]["lr"]
        save(self)

    monkeypatch.setattr(Trainer, "save", noted)
    members = {"teacher": {"rate": 2.5}}
    plan = tiny_plan("tandem-shared", settings, recognisers=members, training={"epochs": 1})
    run(plan)
    assert rates["student"] == rates["shared"] > 0
    assert rates["teacher"] == 2.5 * rates["student"]


@pytest.mark.parametrize(
    ("over", "complaint"),
    [
        (
            {"wordpieces": {"size": 8}},
            r"recognisers\.student\.start\.decoder: .*: it has other word-pieces .* same wordpi",
        ),
        (
            {"models": {"small": {"predictor": {"width": 4}}}},
            r"start\.decoder: .*: its predictor\.embedding\.weight is \(9, 8\) and that of "
            r"models\.small \(9, 4\); give both the same dimensions",
        ),
        (
            {"models": {"small": {"joint": {"kind": "mlp", "width": 9}}}},
            r"its head\.weight is not there and that of models\.small",
        ),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(
    over: dict[str, Any], complaint: str, run: Any, settings: Path, teacher: Path
) -> None:
    members = {"student": {"start": {"decoder": str(teacher)}}}
    with pytest.raises(InputError, match=complaint):
        run(tiny_plan("alone", settings, recognisers=members, **over))


def test_an_encoder_of_other_features_or_of_nobody_is_refused(
    run: Any, settings: Path, teacher: Path
) -> None:
    members = {"teacher": {"start": {"front_end": str(teacher)}}}
    plan = tiny_plan("teacher", settings, recognisers=members, features={"high_frequency": 7000.0})
    with pytest.raises(InputError, match=r"teacher\.start\.front_end: .*: it hears .*-400"):
        run(plan)
    members["teacher"]["start"]["front_end"] = str(teacher.parent)
    mend = r"teacher\.start\.front_end: .*: no recogniser is there; .* --set .*\.front_end=RUN"
    with pytest.raises(InputError, match=mend):
        run(tiny_plan("teacher", settings, recognisers=members), "2")


def test_a_front_end_may_start_where_word_pieces_differ(
    run: Any, settings: Path, teacher: Path
) -> None:
    members = {"teacher": {"start": {"front_end": str(teacher)}, "keep": ["front_end"]}}
    plan = tiny_plan("teacher", settings, recognisers=members, wordpieces={"size": 8})
    after = weights(run(plan).recognisers["teacher"])
    assert_bit_equal(below(after, "front_end"), below(weights(teacher), "front_end"))


TWO = "models: {a: {}, m: {encoder: {kind: module, module: 'x:Y', subsampling: 4}}}\n"


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ("s: {model: a, start: {decodr: r}}", r"s\.start\.decodr .* did you mean 'decoder'"),
        ("s: {model: a, start: 3}", r"s\.start is 3; write the folder"),
        ("s: {model: a, keep: [decoder]}", r"s: keep: .* drawn; add start\.decoder"),
        ("s: {model: a, start: r, keep: [joint]}", r"s\.keep\[0\] is 'joint'; write 'front_end'"),
        ("s: {model: a, rate: 0}", r"s: rate is above 0"),
        ("s: {frozen: r, start: r}", r"s: start, keep and rate are of recognisers that learn"),
        ("s: {model: a, start: r, keep: [front_end, encoder, decoder]}", "nothing of it would"),
        ("s: {model: m, start: r, keep: [encoder, decoder]}", "nothing of it would learn; write"),
        (
            "s: {model: a, keep: [decoder]}, t: {model: a, keep: [decoder]}}\n"
            "share: [decoder]\ntraining: {",
            r"s: keep: the decoder would stay as it is drawn; add start\.decoder, or share it",
        ),
        (
            "s: {model: a, start: r}, t: {model: a, start: q}}\nshare: [decoder]\ntraining: {",
            "share: the decoder is to start from q and r; name one of them",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, members: str, complaint: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"{TWO}recognisers: {{{members}}}", encoding="utf-8")
    with pytest.raises(InputError, match=complaint) as error:
        read_plan(path)
    assert str(path) in str(error.value)

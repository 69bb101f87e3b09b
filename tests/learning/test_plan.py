import re
from pathlib import Path

import pytest

from codert.config import assignments, build, plain
from codert.errors import InputError
from codert.learning.edges import EncoderLogitEdge, LatticeEdge
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.schedule import EdgeSchedule, RateSchedule

from ..tiny import RECIPES, tiny_plan

MATCHES = ("encoder_logits", "decoder_logits", "hidden", "lattice", "collapsed", "path_posterior")
ANY_MATCH = " or ".join(MATCHES)


def write(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


TWO = """
models: {a: {}, b: {encoder: {kind: lstm, strides: [2, 3]}}, c: {predictor: {kind: lstm}}}
recognisers: {teacher: {model: MODEL}, student: {model: a}}
"""


# A student that keeps what it started from.
KEPT = {
    "front end and encoder": "{model: a, keep: [front_end, encoder], "
    "start: {front_end: runs/x/x, encoder: runs/x/x}}",
    "decoder": "{model: a, keep: [decoder], start: {decoder: runs/x/x}}",
}


def edge(keys: str, ends: str = "from: teacher, to: student", model: str = "a") -> str:
    """A plan of two, one of whom teaches the other."""
    return TWO.replace("MODEL", model) + f"edges: [{{{ends}, {keys}}}]"


def assert_refused(path: Path, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        read_plan(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("recognizers: {}\nmodels: {}", "did you mean 'recognisers'"),
        ("models: {}", "recognisers is missing"),
        ("recognisers: {s: {model: big}}\nmodels: {small: {}}", "recognisers.s.model is 'big'"),
        ("recognisers: {s: {}}\nmodels: {}", "one of model: NAME, frozen: RUN and average"),
        ("recognisers: {t: {frozen: x}}\nmodels: {}", "none of them learns"),
        (TWO.replace("MODEL", "c") + "share: [decoder]", "must be equal"),
        ("models: {a: {}}\nrecognisers: {s: {model: a}}\nshare: [decoder]", "only 's' learns"),
        ("models: {a: {}}\nrecognisers: {s: {model: a}}\ntraining: {epochs: 0}", "at least 1"),
        (
            "models: {a: {}}\nrecognisers: {s: {model: a}}\ntraining: {rate: {peek: 1}}",
            "did you mean 'peak'",
        ),
        (edge("match: lattice") + "\nedge: 3", "edge is 3; write keys and values"),
        (edge("gauge: centred"), rf"edges\[0\].match is None; write {ANY_MATCH}"),
        (edge("match: latice"), rf"match is 'latice'; write {ANY_MATCH}"),
        (edge("match: [lattice]"), rf"match is \['lattice'\]; write {ANY_MATCH}"),
        (
            edge("match: lattice, gauge: centred"),
            r"edges\[0\].gauge is not a known key; known here: from, to, .* cells, .* match",
        ),
        (
            edge("match: encoder_logits, cells: teacher"),
            r"edges\[0\].cells is not a known key; known here: from, to, .* match, gauge",
        ),
        (
            edge("match: lattice, cells: likely"),
            r"edges\[0\].cells is 'likely'; write 'uniform' or 'teacher' or 'student' or",
        ),
        (edge("match: encoder_logits, gauge: mean"), "write 'as_trained' or 'centred'"),
        *[
            (
                edge(f"match: lattice, schedule: {{{keys}}}"),
                r"edges\[0\]\.schedule: start and end are from 0 to 1, in this order; ramp and",
            )
            for keys in ("start: 0.9, end: 0.1", "start: -0.1", "end: 2", "ramp: -1", "fade: -1")
        ],
        (edge("match: decoder_logits, shift: 1"), "shift is not a known key"),
        (edge("match: path_posterior, cells: teacher"), "cells is not a known key"),
        (
            edge("match: collapsed, divergence: l2"),
            "divergence is 'l2'; write 'kl' or 'reverse_kl' or 'jensen_shannon' or 'alpha'$",
        ),
        (
            edge("match: path_posterior, divergence: jensen_shannon"),
            "divergence is 'jensen_shannon'; write 'kl' or 'reverse_kl'$",
        ),
        (
            edge("match: lattice, divergence: cosine, temperature: 2"),
            r"edges\[0\]: the cosine does not feel a temperature; remove temperature",
        ),
        (edge("match: lattice, divergence: alpha, alpha: 2"), r"edges\[0\]: alpha is 2.0; write"),
        (edge("match: lattice, alpha: 0.3"), "alpha is of divergence: alpha, not of kl; remove it"),
        (edge("match: lattice, width: 2"), r"edges\[0\]: width is 2; it is of cells: best_path"),
        (edge("match: collapsed, cells: best_path, width: -1"), "width is -1; it is of cells"),
        (edge("match: lattice, samples: 2"), r"edges\[0\]: samples is 2; it is of cells: sampled"),
        (
            edge("match: lattice").replace(
                "recognisers: {", "recognisers: {techer: {frozen: runs/teacher/teacher}, "
            ),
            r"recognisers\.techer teaches nobody; edges are from teacher",
        ),
        (TWO.replace("MODEL", "[a]"), r"model is \['a'\]; write text"),
        (TWO.replace("MODEL", "a") + "share: [[decoder]]", r"share\[0\] is \['decoder'\]; write"),
        (
            edge("match: decoder_logits") + "\nshare: [decoder]",
            r"edges\[0\].match is 'decoder_logits', but 'teacher' and 'student' share their",
        ),
        *[
            (
                edge(f"match: {match}").replace("student: {model: a}", f"student: {KEPT[keep]}"),
                rf"edges\[0\].match is '{match}', but 'student' keeps its {keep}; .* out of keep",
            )
            for match, keep in (
                ("hidden", "front end and encoder"),
                ("encoder_logits", "front end and encoder"),
                ("decoder_logits", "decoder"),
            )
        ],
    ],
)
def test_mistakes_name_file_key_and_mend(tmp_path: Path, text: str, complaint: str) -> None:
    assert_refused(write(tmp_path, text), complaint)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("training.epochs=0", "training: epochs, .* at least 1"),
        ("training.accumulate=0", "training: .*accumulate .* at least 1"),
        ("training.evaluate_every=0", "training: .*evaluate_every are at least 1"),
        ("training.betas=[0.9]", "training: betas are two numbers"),
        ("training.betas=[0.9, 1.0]", "training: betas are .* from 0 to less than 1"),
        ("training.betas=[-0.1, 0.9]", "training: betas are .* from 0 to less than 1"),
        ("training.betas=[.nan, 0.9]", r"training\.betas\[0\] is nan; write a number"),
        ("training.weight_decay=-1", "training: weight_decay and .* at least 0"),
        ("training.ctc_weight=-0.3", "training: .*ctc_weight .* at least 0"),
        ("training.fastemit=-1", "training: fastemit is above -1"),
        ("edge.wieght=2", "edge.wieght is not a known key; did you mean 'weight'"),
        ("edge=2", "edge is 2; write keys and values"),
        ("start=[]", r"start is \[\]; write MODEL: RUN"),
        ("training.clip=0", "training: clip is above 0"),
        ("training.checkpoint_every=-1", "training: checkpoint_every .* at least 0"),
        ("training.seed=-1", "training: .*seed are at least 0"),
        ("training.rate.peak=0", r"training\.rate: peak is above 0"),
        ("training.rate.peak=.inf", r"training\.rate\.peak is inf; write a number"),
        ("training.rate.warmup=1", r"training\.rate: .*warmup from 0 to less than 1"),
        ("models.a.encoder.kernel=4", r"models\.a\.encoder: kernel is 4; write an odd number"),
        ("models.a.encoder.kernel=-1", r"models\.a\.encoder: kernel is -1; write an odd number"),
        ("models.a.encoder.strides=[]", r"models\.a\.encoder: strides is empty"),
        (
            "models.a.encoder={width: 7, context: full}",
            r"models\.a\.encoder: width is 7; with full context write an even one",
        ),
        ("models.a.encoder.strides=[2, 0]", r"models\.a\.encoder: .*strides are at least 1"),
        ("models.a.encoder.channels=0", r"models\.a\.encoder: channels, .* are at least 1"),
        ("models.a.encoder.layers=0", r"models\.a\.encoder: .*layers, .* are at least 1"),
        ("models.a.encoder.width=0", r"models\.a\.encoder: .*width .* are at least 1"),
        ("models.a.encoder.dropout=1", r"models\.a\.encoder: dropout is from 0 to less than 1"),
        ("models.a.encoder.dropout=-0.1", r"models\.a\.encoder: dropout is from 0 to less"),
        (
            "models.a.encoder={kind: module, module: 'x:Y', subsampling: 0}",
            r"models\.a\.encoder: subsampling is at least 1",
        ),
        (
            "models.a.predictor={kind: stateless, context: 0}",
            "models.a.predictor: context and .* at least",
        ),
        (
            "models.a.predictor={kind: stateless, width: 0}",
            "models.a.predictor: .*width are at least 1",
        ),
        (
            "models.a.predictor={kind: stateless, dropout: 1}",
            "models.a.predictor: dropout is from 0 to",
        ),
        (
            "models.a.predictor={kind: lstm, layers: 0}",
            "models.a.predictor: layers and .* at least 1",
        ),
        (
            "models.a.predictor={kind: lstm, dropout: 1.5}",
            "models.a.predictor: dropout is from 0 to less",
        ),
        ("models.a.joint={kind: mlp, width: 0}", r"models\.a\.joint: width is at least 1"),
        (
            "models.a.joint={kind: mlp, head_weight: -1}",
            r"models\.a\.joint: .*head_weight at least",
        ),
        ("data.speeds=[]", "data: speeds must be one factor or more"),
        ("data.speeds=[1.0, 0]", "data: speeds .* each above 0"),
        ("data.max_seconds=0", "data: max_seconds .* above 0"),
        ("data.batch_seconds=-1", "data: .*batch_seconds must be above 0"),
        ("data.batch_seconds=.inf", r"data\.batch_seconds is inf; write a number"),
        ("data.noise={low_db: 20, high_db: 5}", r"data\.noise: low_db must not be above high_db"),
        (
            "data.spec_augment={time_masks: 1, time_width: -1, frequency_masks: 1, "
            "frequency_width: 1}",
            r"data\.spec_augment: masks and widths must be 0 or more",
        ),
        ("data.fold={number: 5, of: 5}", r"data\.fold: .*number is from 0 to below it"),
        ("features.mels=0", "features: mels, .* above 0"),
        ("features.mels=2", "features: kaldi .* write 3 mels or more"),
        ("features.mels=500", "features: kaldi .* fewer for a shorter window"),
        ("features.high_frequency=9000", "features: kaldi .* between 20 and half the rate"),
        ("features.window_ms=0.01", "features: kaldi .* window_ms"),
        ("features.shift_ms=0.01", "features: shift_ms is less than a sample"),
        ("wordpieces.size=2", "wordpieces: size is at least 3"),
        ("recognisers.s.model=", "recognisers.s: write one of model: NAME"),
        ("recognisers={../s: {model: a}}", r"'\.\./s' is to name a folder; use letters"),
        ("recognisers={a b: {model: a}}", "'a b' is to name a folder; use letters"),
        ("recognisers={s.1: {model: a}}", r"recognisers\.s\.1: choose a name without dots"),
        ("recognisers={shared: {model: a}}", r"recognisers\.shared: .* not 'shared'"),
    ],
)
def test_values_out_of_range_name_file_key_and_mend(
    tmp_path: Path, value: str, complaint: str
) -> None:
    path = write(tmp_path, "models: {a: {encoder: {kind: lstm}}}\nrecognisers: {s: {model: a}}")
    assert read_plan(path).live  # nothing else is wrong
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {complaint}"):
        read_plan(path, over=assignments([value]))


FROZEN = "models: {a: {}}\nrecognisers: {teacher: {frozen: x}, student: {model: a}}\n"


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (edge("MATCH", "from: tutor, to: student"), r"edges\[0\].from is 'tutor'; known under"),
        (edge("MATCH", "from: teacher, to: pupil"), r"edges\[0\].to is 'pupil'; known under"),
        (edge("MATCH", "to: student"), r"edges\[0\].from is missing; add it"),
        (edge("MATCH", "teacher: teacher, to: student"), "teacher is not a known key"),
        (edge("MATCH", "from: student, to: student"), r"edges\[0\]: .* name two recognisers"),
        (edge("MATCH, temprature: 2"), "did you mean 'temperature'"),
        (edge("MATCH, temperature: 0"), r"edges\[0\]: temperature is above 0"),
        (edge("MATCH, weight: -1"), r"edges\[0\]: .* weight at least 0"),
        (edge("MATCH, weight: much"), r"edges\[0\].weight is 'much'; write a number"),
        (edge("MATCH, gradient: teacher"), "write 'student' or 'both'"),
        (edge("MATCH, schedule: {begin: 1}"), r"edges\[0\].schedule.begin is not a known key"),
        (FROZEN + "edges: [{from: student, to: teacher, MATCH}]", "is frozen and cannot learn"),
        (
            FROZEN + "edges: [{from: teacher, to: student, gradient: both, MATCH}]",
            "gradient is 'both', but 'teacher' is frozen; write student",
        ),
    ],
)
def test_mistakes_of_every_edge_name_file_key_and_mend(
    tmp_path: Path, text: str, match: str, complaint: str
) -> None:
    assert_refused(write(tmp_path, text.replace("MATCH", f"match: {match}")), complaint)


@pytest.mark.parametrize("match", [match for match in MATCHES if match != "hidden"])
def test_a_divergence_is_one_of_those_there_are(match: str, tmp_path: Path) -> None:
    text = edge(f"match: {match}, divergence: kld")
    assert_refused(write(tmp_path, text), "write 'kl' or 'reverse_kl'")


RATES = """
models: {fast: {encoder: {kind: lstm, strides: [2]}},
         slow: {encoder: {kind: lstm, strides: [2, 2]}},
         odd: {encoder: {kind: lstm, strides: [3]}}}
recognisers: {teacher: {model: TEACHER}, student: {model: STUDENT}}
edges: [{from: teacher, to: student, match: MATCH}]
"""


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize(
    ("teacher", "student", "joined_by"),
    [
        ("slow", "slow", set(MATCHES)),
        ("fast", "slow", set(MATCHES) - {"path_posterior"}),
        ("slow", "fast", {"decoder_logits"}),
        ("odd", "slow", {"decoder_logits"}),
    ],
)
def test_an_edge_says_which_frame_rates_it_joins(
    match: str, teacher: str, student: str, joined_by: set[str], tmp_path: Path
) -> None:
    text = RATES.replace("TEACHER", teacher).replace("STUDENT", student).replace("MATCH", match)
    if match in joined_by:
        assert read_plan(write(tmp_path, text)).edges[0].match == match
    else:
        assert_refused(
            write(tmp_path, text),
            rf"edges\[0\]: 'teacher' has one frame for . of the features' .* {match}; .* same subs",
        )


@pytest.mark.parametrize("untrained", ["teacher", "student"])
def test_heads_that_no_loss_trains_are_not_matched_but_a_lattice_is(
    tmp_path: Path, untrained: str
) -> None:
    joint = "{joint: {kind: mlp, head_weight: %s}}"
    text = f"models: {{a: {joint % 0.3}, b: {joint % 0.0}}}\n"
    models = {"teacher": "a", "student": "a", untrained: "b"}
    text += f"recognisers: {{teacher: {{model: {models['teacher']}}}, "
    text += f"student: {{model: {models['student']}}}}}\n"
    text += "edges: [{from: teacher, to: student, match: MATCH}]\n"
    # CTC trains the encoder's head, and nothing the decoder's.
    by_ctc = text + "training: {ctc_weight: 0.3}"
    assert read_plan(write(tmp_path, by_ctc.replace("MATCH", "encoder_logits"))).edges
    assert_refused(
        write(tmp_path, by_ctc.replace("MATCH", "encoder_logits, gauge: centred")),
        rf"edges\[0\]: the decoder logits of '{untrained}' come from a head that no loss trains",
    )
    assert_refused(
        write(tmp_path, text.replace("MATCH", "decoder_logits")),
        rf"edges\[0\]: the decoder logits of '{untrained}' come from a head that no loss trains",
    )
    assert_refused(
        write(tmp_path, text.replace("MATCH", "encoder_logits")),
        rf"edges\[0\]: the encoder logits of '{untrained}' come from a head that no loss trains; "
        "train it with joint.head_weight or training.ctc_weight above 0, or write match: lattice",
    )
    plan = read_plan(write(tmp_path, text.replace("MATCH", "lattice")))
    assert [type(edge) for edge in plan.edges] == [LatticeEdge]


def test_what_an_edge_matches_says_which_keys_it_has(tmp_path: Path) -> None:
    ends = "from: teacher, to: student"
    text = (
        TWO.replace("MODEL", "a")
        + f"""
edges:
  - {{{ends}, match: lattice}}
  - {{{ends}, match: lattice, cells: uniform, weight: 2, temperature: 4, divergence: l2,
     gradient: both, schedule: {{ramp: 0.5}}}}
  - {{{ends}, match: encoder_logits}}
  - {{{ends}, match: encoder_logits, gauge: centred, weight: 0}}
"""
    )
    plan = read_plan(write(tmp_path, text))
    assert plan.edges == (
        LatticeEdge("teacher", "student", cells="teacher"),
        LatticeEdge(
            "teacher",
            "student",
            weight=2.0,
            schedule=EdgeSchedule(ramp=0.5),
            gradient="both",
            divergence="l2",
            temperature=4.0,
            cells="uniform",
        ),
        EncoderLogitEdge("teacher", "student"),
        EncoderLogitEdge("teacher", "student", weight=0.0, gauge="centred"),
    )
    assert [edge.match for edge in plan.edges] == ["lattice"] * 2 + ["encoder_logits"] * 2
    assert build(Plan, plain(plan), "f") == plan


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file"):
        read_plan(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_every_recipe_is_a_plan(recipe: str) -> None:
    plan = read_plan(RECIPES / f"{recipe}.yaml")
    assert plan.strategy == recipe


def test_settings_and_values_are_laid_over(settings: Path) -> None:
    plan = tiny_plan("alone", settings, training={"epochs": 7})
    assert plan.training.epochs == 7
    assert tiny_plan("alone", settings, training={"fastemit": -0.1}).training.fastemit == -0.1
    assert plan.models["small"].encoder.subsampling == 4


def test_the_rate_warms_up_and_comes_down() -> None:
    rate = RateSchedule(peak=1.0, warmup=0.2)
    values = [rate.at(i / 100) for i in range(101)]
    assert max(values) == pytest.approx(1.0)
    assert values.index(max(values)) == 20
    assert values[0] < 0.1
    assert values[100] == pytest.approx(0.01)
    assert RateSchedule(peak=1.0, warmup=0).at(0) == pytest.approx(1.0)


def test_an_edge_ramps_up() -> None:
    edge = EdgeSchedule(start=0.2, ramp=0.4)
    assert [edge.at(x) for x in (0, 0.1, 0.4, 0.6, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert EdgeSchedule().at(0) == 1


def test_an_edge_fades() -> None:
    edge = EdgeSchedule(end=0.5, fade=0.2)
    assert [edge.at(x) for x in (0, 0.4, 0.6, 0.7, 0.9)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert EdgeSchedule().at(1) == 1
    assert EdgeSchedule(end=0.5).at(0.6) == 0

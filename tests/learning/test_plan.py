from pathlib import Path

import pytest

from codert.config import merged
from codert.errors import InputError
from codert.learning.plan import read_plan
from codert.learning.schedule import EdgeSchedule, RateSchedule

from ..tiny import RECIPES, tiny_plan

MLP = {"joint": {"kind": "mlp", "width": 8}}


def write(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


TWO = """
models: {a: {}, b: {encoder: {kind: lstm, strides: [2, 3]}}, c: {predictor: {kind: lstm}}}
recognisers: {teacher: {model: MODEL}, student: {model: a}}
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("recognizers: {}\nmodels: {}", "did you mean 'recognisers'"),
        ("models: {}", "recognisers is missing"),
        ("recognisers: {s: {model: big}}\nmodels: {small: {}}", "recognisers.s.model is 'big'"),
        ("recognisers: {s: {}}\nmodels: {}", "either model: NAME or frozen: RUN"),
        ("recognisers: {t: {frozen: x}}\nmodels: {}", "none of them learns"),
        (TWO.replace("MODEL", "a") + "edges: [{from: tutor, to: student}]", r"edges\[0\].from"),
        (TWO.replace("MODEL", "a") + "edges: [{from: student, to: student}]", "two recognisers"),
        (TWO.replace("MODEL", "b") + "edges: [{from: teacher, to: student}]", "same subsampling"),
        (TWO.replace("MODEL", "c") + "share: [decoder]", "must be equal"),
        (
            "models: {a: {}}\nrecognisers: {t: {frozen: x}, s: {model: a}}\n"
            "edges: [{from: s, to: t}]",
            "is frozen and cannot learn",
        ),
        (
            "models: {a: {}}\nrecognisers: {t: {frozen: x}, s: {model: a}}\n"
            "edges: [{from: t, to: s, gradient: both}]",
            "gradient is 'both'",
        ),
        ("models: {a: {}}\nrecognisers: {s: {model: a}}\nshare: [decoder]", "only 's' learns"),
        (
            "models: {a: {joint: {kind: mlp, head_weight: 0.0}}}\n"
            "recognisers: {t: {model: a}, s: {model: a}}\nedges: [{from: t, to: s}]",
            "a head that no loss trains",
        ),
        ("models: {a: {}}\nrecognisers: {s: {model: a}}\ntraining: {epochs: 0}", "at least 1"),
        (
            "models: {a: {}}\nrecognisers: {s: {model: a}}\ntraining: {rate: {peek: 1}}",
            "did you mean 'peak'",
        ),
    ],
)
def test_mistakes_name_file_key_and_mend(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=complaint) as error:
        read_plan(path)
    assert str(path) in str(error.value)


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
    assert plan.models["small"].encoder.subsampling == 4


def test_merging_goes_key_by_key() -> None:
    assert merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}


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

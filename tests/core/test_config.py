"""Strict reading of configurations: every error names the file, the key and the mend."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from codert.config import as_assignments, assignments, build, merged, plain, read_yaml
from codert.errors import InputError
from codert.models.recogniser import RecogniserConfig

from .brute_force import few


@dataclass(frozen=True)
class Circle:
    kind: Literal["circle"]
    radius: float = 1.0


@dataclass(frozen=True)
class Square:
    kind: Literal["square"] = "square"
    side: int = 2


@dataclass(frozen=True)
class Drawing:
    title: str
    shape: Circle | Square = field(default_factory=Square)
    opacity: float = 1.0
    copies: int = 1
    framed: bool = False
    colour: Literal["red", "blue"] = "red"
    note: str | None = None
    sizes: tuple[float, ...] = ()
    layers: dict[str, Square] = field(default_factory=dict)
    origin: str = field(default="here", metadata={"key": "from"})
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError("copies is below 1; write at least 1")


FULL = {
    "title": "a",
    "shape": {"kind": "circle", "radius": 2.5},
    "opacity": 0.5,
    "copies": 3,
    "framed": True,
    "colour": "blue",
    "note": "n",
    "sizes": [1.0, 2.0],
    "layers": {"top": {"kind": "square", "side": 4}},
    "from": "there",
    "extra": {"anything": [1, {"goes": None}]},
}


def test_all_that_is_written_is_read() -> None:
    assert build(Drawing, FULL, "f.yaml") == Drawing(
        "a",
        Circle("circle", 2.5),
        0.5,
        3,
        True,
        "blue",
        "n",
        (1.0, 2.0),
        {"top": Square(side=4)},
        "there",
        {"anything": [1, {"goes": None}]},
    )
    assert build(Drawing, {"title": "a"}, "f.yaml") == Drawing("a")
    assert build(Drawing, {"title": "a", "note": None}, "f.yaml").note is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"titel": "a"}, "f.yaml: titel is not a known key; did you mean 'title'?"),
        ({"title": "a", "form": 1}, "f.yaml: form is not a known key; did you mean 'from'?"),
        ({"title": "a", "origin": "x"}, "f.yaml: origin is not a known key"),
        ({"title": "a", "zzz": 1}, "known here: title, shape, opacity"),
        ({"title": "a", 7: 1}, "f.yaml: 7 is not a known key"),
        ({"title": "a", True: 1}, "f.yaml: True is not a known key"),
        ({}, "f.yaml: title is missing; add it"),
        ([], "f.yaml: the file is []; write keys and values"),
        (None, "f.yaml: the file is None; write keys and values"),
        ({"title": 3}, """f.yaml: title is 3; write text in quotes, as in '"007"'"""),
        ({"title": None}, "f.yaml: title is None; write text"),
        ({"title": "a", "note": 3}, "f.yaml: note is 3; write text"),
        ({"title": "a", "copies": 1.5}, "f.yaml: copies is 1.5; write a whole number"),
        ({"title": "a", "copies": 1.0}, "f.yaml: copies is 1.0; write a whole number"),
        ({"title": "a", "copies": True}, "f.yaml: copies is True; write a whole number"),
        ({"title": "a", "copies": "1"}, "f.yaml: copies is '1'; write a whole number"),
        ({"title": "a", "opacity": True}, "f.yaml: opacity is True; write a number"),
        ({"title": "a", "opacity": "half"}, "f.yaml: opacity is 'half'; write a number"),
        ({"title": "a", "opacity": math.nan}, "f.yaml: opacity is nan; write a number"),
        ({"title": "a", "opacity": -math.inf}, "f.yaml: opacity is -inf; write a number"),
        ({"title": "a", "sizes": [1.0, math.inf]}, "f.yaml: sizes[1] is inf; write a number"),
        ({"title": "a", "opacity": "1e999"}, "f.yaml: opacity is inf; write a number"),
        ({"title": "a", "opacity": "e5"}, "f.yaml: opacity is 'e5'; write a number"),
        ({"title": "a", "framed": 1}, "f.yaml: framed is 1; write true or false"),
        ({"title": "a", "framed": "yes"}, "f.yaml: framed is 'yes'; write true or false"),
        ({"title": "a", "colour": "green"}, "f.yaml: colour is 'green'; write 'red' or 'blue'"),
        ({"title": "a", "colour": ["red"]}, "f.yaml: colour is ['red']; write 'red' or 'blue'"),
        ({"title": "a", "sizes": 3}, "f.yaml: sizes is 3; write a list"),
        ({"title": "a", "sizes": "12"}, "f.yaml: sizes is '12'; write a list"),
        ({"title": "a", "sizes": [1, "x"]}, "f.yaml: sizes[1] is 'x'; write a number"),
        ({"title": "a", "layers": [1]}, "f.yaml: layers is [1]; write keys and values"),
        (
            {"title": "a", "layers": {"top": {"kind": "square", "sides": 4}}},
            "f.yaml: layers.top.sides is not a known key; did you mean 'side'?",
        ),
        (
            {"title": "a", "shape": {"kind": "circel"}},
            "f.yaml: shape.kind is 'circel'; write circle or square",
        ),
        ({"title": "a", "shape": {"side": 2}}, "f.yaml: shape.kind is None; write circle or"),
        ({"title": "a", "shape": {"kind": ["circle"]}}, "f.yaml: shape.kind is ['circle']; write"),
        ({"title": "a", "shape": "circle"}, "f.yaml: shape is 'circle'; write keys and values"),
        (
            {"title": "a", "shape": {"kind": "circle", "side": 2}},
            "f.yaml: shape.side is not a known key; known here: kind, radius",
        ),
        ({"title": "a", "copies": 0}, "f.yaml: copies is below 1; write at least 1"),
    ],
)
def test_errors_name_file_key_and_mend(given: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        build(Drawing, given, "f.yaml")
    assert message in str(error.value)


def test_errors_name_the_way_to_the_key() -> None:
    with pytest.raises(InputError, match=r"^f\.yaml: a\.b\.copies is 'x'"):
        build(Drawing, {"title": "t", "copies": "x"}, "f.yaml", "a.b")
    with pytest.raises(InputError, match=r"^f\.yaml: a\.b: copies is below 1"):
        build(Drawing, {"title": "t", "copies": 0}, "f.yaml", "a.b")


def test_a_union_is_read_by_its_kind() -> None:
    shape = build(Drawing, {"title": "a", "shape": {"kind": "circle"}}, "f").shape
    assert shape == Circle("circle")
    shape = build(Drawing, {"title": "a", "shape": {"kind": "square", "side": 7}}, "f").shape
    assert shape == Square(side=7)


@dataclass(frozen=True)
class Stroke:
    side: str = field(metadata={"key": "from"})
    ending: Literal["round", "flat"] = "round"
    shade: Literal["grey"] = "grey"


@dataclass(frozen=True)
class Line(Stroke):
    drawn: Literal["line"] = "line"
    dashes: int = 0


@dataclass(frozen=True)
class Arc(Stroke):
    drawn: Literal["arc"] = "arc"
    angle: float = 90.0


@dataclass(frozen=True)
class Dot:
    drawn: Literal["dot"] = "dot"


@dataclass(frozen=True)
class Sketch:
    strokes: tuple[Line | Arc | Dot, ...] = ()
    last: Line | Dot | None = None


def test_what_tells_the_kinds_of_a_union_apart_may_have_any_name() -> None:
    strokes = [
        {"drawn": "arc", "from": "left", "angle": 45},
        {"drawn": "line", "from": "top", "ending": "flat", "dashes": 3},
        {"drawn": "dot"},
    ]
    sketch = build(Sketch, {"strokes": strokes, "last": {"drawn": "dot"}}, "f")
    assert sketch.strokes == (Arc("left", angle=45.0), Line("top", "flat", dashes=3), Dot())
    assert sketch.last == Dot()
    assert build(Sketch, json.loads(json.dumps(plain(sketch))), "f") == sketch
    assert build(Sketch, {"last": None}, "f").last is None


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        ({"from": "top"}, "f.yaml: strokes[0].drawn is None; write line or arc or dot"),
        ({"drawn": "curve"}, "f.yaml: strokes[0].drawn is 'curve'; write line or arc or dot"),
        ("line", "f.yaml: strokes[0] is 'line'; write keys and values with drawn: line or arc or"),
        (None, "f.yaml: strokes[0] is None; write keys and values with drawn: line or arc or dot"),
        ({"drawn": "line"}, "f.yaml: strokes[0].from is missing; add it"),
        (
            {"drawn": "line", "from": "top", "angle": 3},
            "f.yaml: strokes[0].angle is not a known key; "
            "known here: from, ending, shade, drawn, dashes",
        ),
        ({"drawn": "dot", "from": "top"}, "f.yaml: strokes[0].from is not a known key"),
        (
            {"drawn": "arc", "from": "top", "angel": 3},
            "f.yaml: strokes[0].angel is not a known key; did you mean 'angle'?",
        ),
        (
            {"drawn": "arc", "from": "top", "ending": "grey"},
            "f.yaml: strokes[0].ending is 'grey'; write 'round' or 'flat'",
        ),
    ],
)
def test_mistakes_in_a_union_name_file_key_and_mend(stroke: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        build(Sketch, {"strokes": [stroke]}, "f.yaml")
    assert message in str(error.value)


def test_numbers_may_be_written_as_whole_numbers() -> None:
    opacity = build(Drawing, {"title": "a", "opacity": 1}, "f").opacity
    assert isinstance(opacity, float)
    assert opacity == 1
    sizes = build(Drawing, {"title": "a", "sizes": [1, 2.5]}, "f").sizes
    assert [type(x) for x in sizes] == [float, float]


@pytest.mark.parametrize("text", ["1e-3", "2.5e-4", "-1E3", "1e+2", "1.e3"])
def test_numbers_that_yaml_reads_as_text(text: str) -> None:
    assert build(Drawing, yaml.safe_load(f"{{title: a, opacity: {text}}}"), "f").opacity == float(
        text
    )


def test_plain_is_the_inverse_of_build() -> None:
    drawing = build(Drawing, FULL, "f")
    assert plain(drawing) == FULL
    assert build(Drawing, json.loads(json.dumps(plain(drawing))), "f") == drawing
    assert build(Drawing, yaml.safe_load(yaml.safe_dump(plain(drawing))), "f") == drawing


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@few
@given(
    st.builds(
        Drawing,
        title=st.text(),
        shape=st.builds(Circle, st.just("circle"), FINITE) | st.builds(Square, side=st.integers()),
        opacity=FINITE,
        copies=st.integers(1, 9),
        framed=st.booleans(),
        colour=st.sampled_from(["red", "blue"]),
        note=st.none() | st.text(),
        sizes=st.lists(FINITE).map(tuple),
        layers=st.dictionaries(st.text(), st.builds(Square, side=st.integers())),
        origin=st.text(),
    )
)
def test_round_trip_through_json(drawing: Drawing) -> None:
    assert build(Drawing, json.loads(json.dumps(plain(drawing))), "f") == drawing


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "encoder": {"kind": "lstm", "strides": [2, 2, 2]},
            "predictor": {"kind": "lstm"},
            "joint": {"kind": "mlp", "head_weight": 0},
        },
        {"encoder": {"kind": "module", "module": "a:B", "subsampling": 4, "options": {"x": [1]}}},
    ],
)
def test_recognisers_survive_json(given: dict[str, Any]) -> None:
    config = build(RecogniserConfig, given, "f")
    assert build(RecogniserConfig, json.loads(json.dumps(plain(config))), "f") == config


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)  # which no setting takes
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | WORDS
KEYS = st.text("ab.=", min_size=1, max_size=3)


@given(
    st.dictionaries(
        st.sampled_from("xyz"),
        st.recursive(SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(KEYS, v)),
    )
)
def test_assignments_are_read_as_they_were_written(values: dict[str, Any]) -> None:
    assert json.dumps(assignments(as_assignments(values))) == json.dumps(values)


def test_assignments_are_short() -> None:
    values = {"a": {"b": {"c": 1}, "d": {}, "e.f": 2}, "g": "runs/x", "h": "yes", "i": [0.5, "x"]}
    assert as_assignments(values) == [
        'a={"b": {"c": 1}, "d": {}, "e.f": 2}',
        "g=runs/x",
        'h="yes"',
        'i=[0.5, "x"]',
    ]
    assert as_assignments({"a": {"b": {"c": 1}, "d": None}}) == ["a.b.c=1", "a.d=null"]
    # Of 1e-05 YAML makes text.
    assert as_assignments({"a": 1e-5, "b": [1e20, "x"]}) == ["a=1.0e-05", "b=[1.0e+20, x]"]


def test_merging_goes_key_by_key_and_replaces_all_else() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(base, {"a": {"c": [3]}, "e": {"f": 2}}) == {
        "a": {"b": 1, "c": [3]},
        "d": 1,
        "e": {"f": 2},
    }
    assert merged(base, {"a": None, "d": {"x": 1}}) == {"a": None, "d": {"x": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_what_is_of_another_kind_is_replaced() -> None:
    base = {"predictor": {"kind": "stateless", "context": 2, "width": 8}}
    assert merged(base, {"predictor": {"kind": "lstm", "layers": 2}}) == {
        "predictor": {"kind": "lstm", "layers": 2}
    }
    same = merged(base, {"predictor": {"kind": "stateless", "width": 4}})
    assert same == {"predictor": {"kind": "stateless", "context": 2, "width": 4}}
    # In whatever order they are typed.
    assert assignments(["a.width=4", "a.kind=lstm"]) == {"a": {"kind": "lstm", "width": 4}}


def test_yaml_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("a: {b: 1}\n")
    assert read_yaml(path) == {"a": {"b": 1}}
    path.write_text("# nothing yet\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not valid YAML"),
        (b"a: 1\nb: {c: 1, d: 2, c: 3}", "the key 'c' comes twice\n.*line 2"),
        (b"a: 2020-13-45", "not valid YAML"),
        (b"- 1\n- 2\n", "expected keys and values, found a list"),
        (b"\xff\xfe\x00a", "not valid YAML"),
        (b"a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_files_that_are_not_yaml_mappings(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_yaml(path)
    assert str(path) in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)

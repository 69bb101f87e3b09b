"""Which layer of a recipe has the last word: its settings, itself, or what is laid over both."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from codert.errors import InputError
from codert.learning.edges import DecoderLogitEdge, EncoderLogitEdge, LatticeEdge
from codert.learning.plan import PARTS, Plan
from codert.learning.recipe import read_plan
from codert.learning.schedule import EdgeSchedule

TWO = """
models: {big: {}, little: {}}
recognisers: {teacher: {model: big}, student: {model: little}}
"""
# An edge that says nothing but its ends, and one that says more.
BARE = "{from: teacher, to: student}"
SAYS = "{from: teacher, to: student, %s}"
lattice = partial(LatticeEdge, "teacher", "student")
encoder = partial(EncoderLogitEdge, "teacher", "student")
decoder = partial(DecoderLogitEdge, "teacher", "student")


def layered(folder: Path, settings: str, recipe: str, over: str) -> Plan:
    (folder / "settings.yaml").write_text(settings)
    (folder / "plan.yaml").write_text(f"settings: settings.yaml\n{recipe}")
    return read_plan(folder / "plan.yaml", over=yaml.safe_load(over))


@pytest.mark.parametrize(
    ("settings", "recipe", "over", "edges"),
    [
        # The edge has the last word, then the recipe, then the settings.
        (
            "edge: {match: lattice, weight: 2}",
            f"edges: [{BARE}, {SAYS % 'weight: 3'}]",
            "",
            [lattice(weight=2.0), lattice(weight=3.0)],
        ),
        (
            "edge: {match: lattice, weight: 2, shift: -1}",
            f"edge: {{weight: 3}}\nedges: [{BARE}, {SAYS % 'weight: 4'}]",
            "",
            [lattice(weight=3.0, shift=-1), lattice(weight=4.0, shift=-1)],
        ),
        (
            "edge: {match: lattice, schedule: {ramp: 0.5, end: 0.7}}",
            f"edge: {{schedule: {{end: 0.8}}}}\nedges: [{SAYS % 'schedule: {start: 0.1}'}]",
            "edge: {schedule: {fade: 0.1}}",
            [lattice(schedule=EdgeSchedule(start=0.1, ramp=0.5, end=0.8, fade=0.1))],
        ),
        ("edge: {match: lattice}", f"edge:\nedges: [{BARE}]", "edge:", [lattice()]),
        # What is laid over goes over what edges say,
        (
            "edge: {match: lattice, weight: 2}",
            f"edges: [{BARE}, {SAYS % 'weight: 3'}]",
            "edge: {weight: 0.5}",
            [lattice(weight=0.5), lattice(weight=0.5)],
        ),
        # under those that are laid over as well, which have the settings' and the recipe's too.
        (
            "edge: {match: lattice, shift: -1}",
            f"edge: {{temperature: 2}}\nedges: [{BARE}]",
            f"edge: {{weight: 0.5}}\nedges: [{BARE}, {SAYS % 'weight: 4'}]",
            [lattice(weight=w, shift=-1, temperature=2.0) for w in (0.5, 4.0)],
        ),
        (
            "edge: {match: lattice, weight: 2}",
            f"edges: [{BARE}]",
            f"edges: [{SAYS % 'match: encoder_logits'}]",
            [encoder(weight=2.0)],
        ),
        ("edge: {match: lattice}", f"edges: [{BARE}]", "edges: []", []),
        ("edge: {match: lattice, weight: 2}", "", "", []),
        # Lists replace each other; a recipe's `edge` goes under the settings' edges as well.
        (
            f"edge: {{match: lattice}}\nedges: [{SAYS % 'weight: 2'}]",
            f"edges: [{BARE}, {BARE}]",
            "",
            [lattice(), lattice()],
        ),
        (
            f"edges: [{SAYS % 'match: lattice, weight: 2'}]",
            "edge: {weight: 3, shift: -1}",
            "",
            [lattice(weight=2.0, shift=-1)],
        ),
        (
            f"edges: [{SAYS % 'match: lattice, weight: 2'}]",
            "edge: {weight: 3}",
            "edge: {weight: 4}",
            [lattice(weight=4.0)],
        ),
        # Where something else is matched, what that has not is left out,
        (
            "edge: {match: lattice, weight: 2, shift: -2, cells: uniform}",
            f"edges: [{BARE}, {SAYS % 'match: encoder_logits'}, {SAYS % 'match: decoder_logits'}]",
            "",
            [
                lattice(weight=2.0, shift=-2, cells="uniform"),
                encoder(weight=2.0, shift=-2),
                decoder(weight=2.0),
            ],
        ),
        (
            "edge: {match: lattice, weight: 2, shift: -2, cells: uniform}",
            f"edge: {{match: decoder_logits}}\nedges: [{BARE}, {SAYS % 'match: lattice'}]",
            "",
            [decoder(weight=2.0), lattice(weight=2.0)],
        ),
        (
            "edge: {match: lattice, weight: 2, shift: -2}",
            f"edges: [{BARE}, {SAYS % 'match: encoder_logits, gauge: centred, weight: 3'}]",
            "edge: {match: decoder_logits}",
            [decoder(weight=2.0), decoder(weight=3.0, gauge="centred")],
        ),
        (
            "edge: {match: lattice}",
            f"edges: [{BARE}, {SAYS % 'match: encoder_logits'}]",
            "edge: {match: decoder_logits, gauge: centred}",
            [decoder(gauge="centred"), decoder(gauge="centred")],
        ),
        (
            "edge: {match: lattice, weight: 2, cells: uniform}",
            f"edge: {{match: null}}\nedges: [{SAYS % 'match: lattice'}]",
            "",
            [lattice(weight=2.0, cells="uniform")],
        ),
        # and what is laid over goes over those edges that have such a key.
        (
            "edge: {match: lattice}",
            f"edges: [{BARE}, {SAYS % 'match: encoder_logits, gauge: centred'}]",
            "edge: {cells: uniform, gauge: as_trained, shift: -1}",
            [lattice(cells="uniform", shift=-1), encoder(shift=-1)],
        ),
    ],
)
def test_edges(settings: str, recipe: str, over: str, edges: list[Any], tmp_path: Path) -> None:
    assert list(layered(tmp_path, TWO + settings, recipe, over).edges) == edges


@pytest.mark.parametrize(
    ("settings", "recipe", "over", "complaint"),
    [
        # What edges of the same match have not is no slip of the settings.
        (
            "edge: {match: encoder_logits, cells: uniform}",
            f"edges: [{SAYS % 'match: encoder_logits'}]",
            "",
            r"edges\[0\]\.cells is not a known key",
        ),
        # What no edge has is laid over all.
        (
            "edge: {match: lattice}",
            f"edges: [{SAYS % 'match: encoder_logits'}, {SAYS % 'match: decoder_logits'}]",
            "edge: {cells: uniform}",
            r"edges\[0\]\.cells is not a known key",
        ),
        (
            "edge: {match: lattice}",
            f"edges: [{BARE}]",
            "edge: {match: encoder_logits, cells: uniform}",
            r"edges\[0\]\.cells is not a known key",
        ),
        (
            "edge: {match: lattice}",
            f"edges: [{BARE}, {SAYS % 'match: encoder_logits'}]",
            "edge: {size: 3}",
            r"edges\[0\]\.size is not a known key",
        ),
        # It is wrong whether an edge reads it or not.
        ("edge: {match: latice}", "", "", r"edge\.match is 'latice'; write "),
        ("edge: {match: lattice}", "", "edge: {weight: much}", r"edge\.weight is 'much'; write"),
        ("edge: {wieght: 2}", "", "", r"edge\.wieght is not a known key"),
        ("edge: {match: lattice}", "edges: {}", "", r"edges is \{\}; write a list"),
        ("edge: {match: lattice}", "edges: 3", "edges:", r"edges is None; write a list"),
        (
            "edge: {match: lattice}",
            f"edges: [{BARE}, student]",
            "",
            r"edges\[1\] is 'student'; write keys and values with match: encoder_logits or",
        ),
    ],
)
def test_edges_that_are_refused(
    settings: str, recipe: str, over: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"plan\.yaml \(with .*settings\.yaml\): {complaint}"):
        layered(tmp_path, TWO + settings, recipe, over)


def parts(run: str, *but: str) -> dict[str, str]:
    return {part: run for part in PARTS if part not in but}


@pytest.mark.parametrize(
    ("settings", "recipe", "over", "teacher", "student"),
    [
        # By model: the upper layer has the last word, part by part, a bare run for all parts.
        ("start: {big: /b}", "", "", parts("/b"), {}),
        ("start: {big: /b}", "start: {big: r, little: {decoder: q}}", "",
         parts("r"), {"decoder": "q"}),
        ("start: {big: /b}", "start: {big: {encoder: r}}", "start: {big: {front_end: q}}",
         {"front_end": "q", "encoder": "r", "decoder": "/b"}, {}),
        ("start: {big: /b, little: /l}", "start: {big: null}", "", {}, parts("/l")),
        ("start: {big: /b}", "start: {big: {encoder: null}}", "start:", parts("/b", "encoder"), {}),
        ("start: {big: null}", "", "start: {big: {encoder: r}}", {"encoder": "r"}, {}),
        # A recogniser has the last word over its model.
        ("start: {big: /b}", "recognisers: {teacher: {start: r}}", "start: {big: q}",
         parts("r"), {}),
        ("start: {big: /b}", "recognisers: {teacher: {start: {encoder: r}}}", "",
         parts("/b", "encoder") | {"encoder": "r"}, {}),
        ("start: {big: /b, little: /l}", "recognisers: {teacher: {start: null}}", "",
         {}, parts("/l")),
        ("start: {big: /b}", "recognisers: {teacher: {start: {encoder: null}}}", "",
         parts("/b", "encoder"), {}),
        # Its own starts are laid over each other as any keys are: a bare run is replaced whole,
        ("", "recognisers: {teacher: {start: r}}",
         "recognisers: {teacher: {start: {encoder: null}}}", {}, {}),
        ("", "recognisers: {teacher: {start: {encoder: r, decoder: r}}}",
         "recognisers: {teacher: {start: {encoder: null}}}", {"decoder": "r"}, {}),
        # and with it what it said over its model.
        ("start: {big: /b}", "recognisers: {teacher: {start: r}}",
         "recognisers: {teacher: {start: {encoder: q}}}",
         parts("/b", "encoder") | {"encoder": "q"}, {}),
        # A shared part is started once: as a recogniser says, else as the first model.
        ("start: {big: /b, little: /l}\nshare: [decoder]", "", "", parts("/b"),
         parts("/l", "decoder")),
        ("start: {big: {encoder: /b}, little: /l}\nshare: [decoder]", "", "", {"encoder": "/b"},
         parts("/l")),
        ("start: {big: /b, little: /l}\nshare: [decoder]",
         "recognisers: {student: {start: {decoder: r}}}", "",
         parts("/b", "decoder"), parts("/l", "decoder") | {"decoder": "r"}),
        ("start: {big: /b, little: /l}\nshare: [decoder]",
         "recognisers: {student: {start: {decoder: null}}}", "",
         parts("/b", "decoder"), parts("/l", "decoder")),
        ("start: {big: {decoder: null}, little: /l}\nshare: [decoder]", "", "", {}, parts("/l")),
    ],
)  # fmt: skip
def test_starts(
    settings: str,
    recipe: str,
    over: str,
    teacher: dict[str, str],
    student: dict[str, str],
    tmp_path: Path,
) -> None:
    found = layered(tmp_path, TWO + settings, recipe, over).recognisers
    assert found["teacher"].start == teacher
    assert found["student"].start == student

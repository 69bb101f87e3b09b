import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from codert.analysis.agreement import AgreementMeter, Emissions
from codert.analysis.analysis import Analysed, Analysis, Gauge, Trace, claims
from codert.analysis.confusions import Confused, Rival
from codert.analysis.entropy import Entropies, EntropyMeter
from codert.analysis.reading import Reading
from codert.analysis.similarity import Similarity
from codert.config import yaml_of
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.evaluation.results import Result, headings, table
from codert.learning.plan_places import with_places
from codert.learning.recipe import read_plan
from codert.models.joint import AdditiveJoint
from codert.reports.analysis_report import as_json, as_text, write_analysis
from codert.reports.demo_report import from_here
from codert.reports.report import (
    Example,
    Lesson,
    Portion,
    Report,
    render,
    write_report,
)

from ..tiny import tiny_plan

HOSTILE = '</style><script src="x.js">alert(1)</script><img src=x onerror=alert(1)>$\\frac$'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Tags, addresses and texts of a page whose every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.rows: list[list[str]] = []
        self.marked: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        values = dict(attrs)
        assert not [name for name in values if name.startswith("on")]
        self.addresses += [v or "" for k, v in values.items() if k in ("src", "href")]
        if tag == "img":
            self.alternatives.append(values["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        if tag in ("td", "th"):
            self.rows[-1].append(data)
        if tag in ("del", "ins", "span"):
            self.marked.append((tag, data))


def result(name: str = "tandem", werr: float | None = 12.345) -> Result:
    return {
        "name": name,
        "folder": f"runs/demo/{name}",
        "strategy": "tandem",
        "role": "student",
        "encoder_params": 1_234_567,
        "total_params": 1_500_000,
        "streams": True,
        "wer": 23.456,
        "wer_ci": [22.0, 25.0],
        "substituted": 12.0,
        "deleted": 10.0,
        "inserted": 1.456,
        "cer": 9.0,
        "skipped": 0,
        "words": 5400,
        "werr": werr,
        "werr_ci": None if werr is None else [-1.5, 20.25],
        "p": None if werr is None else 0.0312,
    }


def analysed(name: str, text: str, against: str | None = None) -> Analysed:
    """An analysis of random logits that two utterances have, all of whose texts are `text`."""
    torch.manual_seed(0)
    encoder, decoder = torch.randn(9, 5), torch.randn(4, 5)
    reading = Reading(
        labels=torch.tensor([1, 2, 1]),
        encoder_logits=encoder,
        decoder_logits=decoder,
        joint_entropy=torch.rand(9, 4),
        occupancy=torch.rand(9, 4),
        emitted=torch.tensor([1, 4, 4]),
        joint=(AdditiveJoint(), encoder, decoder),
    )
    meter = EntropyMeter()
    for speaker in "ab":
        meter.add(reading, speaker)
    confused = Confused(text, text, 3, 0.5, 0.25, (Rival(text, 0.125, 0.75), Rival("b", 0.1, None)))
    gauge = Gauge(meter.summary(), (confused,), Similarity(31, 0.8125, 0.9375, 0.0005))
    agreement = None
    if against is not None:
        pairs = AgreementMeter(against)
        emissions = Emissions.of(reading, torch.zeros(5), 0.04)
        pairs.add(emissions, Emissions.of(reading, torch.zeros(5), 0.08))
        agreement = pairs.agreement()
    analysis = Analysis(
        run=name,
        strategy=text,
        role="student",
        utterances=2,
        frames=18,
        labels=6,
        frame_ms=40,
        symbols=5,
        skipped=(Skipped("u9", text),),
        as_trained=gauge,
        centred=gauge,
        claims=(*claims(gauge, "as_trained"), *claims(gauge, "centred")),
        agreement=agreement,
        notes=(text,),
    )
    trace = Trace(text, text, (text,) * 3, torch.rand(36, 8), 0.01, Entropies.of(reading), 0.04)
    symbols = ["<blk>", text, "b", "c", "d"]
    return Analysed(analysis, symbols, torch.rand(5, 5).double().numpy(), [trace])


def report(text: str = "tandem") -> Report:
    return Report(
        title=text,
        understands=text,
        corpus=text,
        command=text,
        lessons=[Lesson(text, text, text, text)],
        portions=[Portion(text, 1234, 5, 6.789, 4321)],
        results=[result("alone", None), result(text)],
        curves={
            text: [
                {"update": 10, "epoch": 0.5, "transducer/student": 9.0, "rate": 0.1},
                {"update": 20, "epoch": 1.0, "transducer/student": 5.0, "rate": 0.1},
                {"update": 20, "epoch": 1.0, "wer/student": 250.0, "ctc_wer/student": 99.0},
            ]
        },
        analyses={"first": analysed("first", text), text: analysed(text, text, "first")},
        detailed=[text],
        examples=[Example("u7", "turn the lights on", {text: "turn lights off now"})],
        core_seconds={"alone": 1000.4, text: 2345.0},
        recipes={text: text},
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(report()))


def test_page_stands_alone(page: Page) -> None:
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", render(report()))
    assert "script" not in page.tags


def test_figures_are_svg_with_a_text_for_those_who_cannot_see_them(page: Page) -> None:
    figures = [a for a in page.addresses if a.startswith("data:image/svg+xml;base64,")]
    for figure in figures:
        root = ElementTree.fromstring(base64.b64decode(figure.partition(",")[2]))
        assert root.tag.endswith("svg")
    assert page.alternatives == [
        "word error rate on the test set against encoder parameters, with 95 % intervals",
        "student: word error rate on the development set",
        "student: transducer loss in training, smoothed",
        "How the entropies are spread; the line is the most",
        "Encoder logits (columns) where a word-piece is emitted (rows): the commonest",
        "tandem: tandem. Log-mel spectrogram, and entropies over time",
        "tandem: tandem. The entropy of each cell, and the best path",
    ]


def test_tables_show_every_figure(page: Page) -> None:
    assert list(headings("alone")) in page.rows
    assert ["alone", "tandem", "1,234,567", "23.46 [22.00, 25.00]", "-", "-"] in page.rows
    assert [
        *("tandem", "tandem", "1,234,567", "23.46 [22.00, 25.00]"),
        *("+12.3 [-1.5, +20.2]", "0.031"),
    ] in page.rows
    assert ["all", "3,345"] in page.rows
    found = analysed("", "").analysis.as_trained.entropy
    for where in ("all", "blank", "emitting"):
        means = [getattr(s, where).mean for s in (found.encoder, found.decoder, found.joint)]
        share = getattr(found.joint_below_encoder, where).share
        row = ["first", where, *(f"{mean:.2f}" for mean in means), f"{100 * share:.0f} %"]
        assert [*row, row[2], row[3]] in page.rows


def test_claims_are_said_to_be_held_or_not(page: Page) -> None:
    alike = (
        ", phone distance 0.812 to rivals, 0.938 to pieces of the same length and frequency; "
        "p 0.0005, n 31"
    )
    spans = [text for tag, text in page.marked if tag == "span"]
    assert spans.count(alike) == 4
    verdicts = [text for text in spans if "held" in text]
    assert len(verdicts) == 2 * 3 * 2
    assert set(verdicts) <= {"held", "not held"}


def test_delays_are_shown_in_milliseconds(page: Page) -> None:
    rows = [row for row in page.rows if row[-1].startswith("+")]
    found = analysed("", "", "first").analysis.agreement
    assert found is not None
    assert found.delay_ms.mean == pytest.approx(40 * 3)
    assert rows[0][0] == "tandem"
    assert rows[0][-1] == "+120 [+40, +160]"


def test_what_was_trained_comes_from_the_plan(settings: Path) -> None:
    found = Lesson.of("tandem-shared", tiny_plan("tandem-shared", settings))
    assert found.recognisers == "teacher (large), student (small)"
    assert found.shared == "decoder"
    assert found.edges == "teacher to student: encoder_logits, weight 1"
    begun = tiny_plan(
        "tandem-shared",
        settings,
        start={"large": "runs/big", "small": {"encoder": "runs/little"}},
        edge={"shift": -2},
    )
    found = Lesson.of("tandem-shared", begun)
    assert found.recognisers == (
        "teacher (large, front end and encoder and decoder from runs/big), "
        "student (small, encoder from runs/little)"
    )
    assert found.edges == "teacher to student: encoder_logits, weight 1, shift -2"
    edge = {"match": "lattice", "cells": "uniform", "gradient": "both", "schedule": {"ramp": 0.25}}
    other = Lesson.of("tandem-shared", tiny_plan("tandem-shared", settings, edge=edge))
    assert other.edges == (
        'teacher to student: lattice, weight 1, schedule {"start": 0.0, "ramp": 0.25, "end": 1.0, '
        '"fade": 0.0}, gradient both, cells uniform'
    )
    alone = Lesson.of("alone", tiny_plan("alone", settings))
    assert (alone.shared, alone.edges) == ("nothing", "nobody")


def test_portions_are_counted() -> None:
    said = [Utterance(str(i), Path("a"), "it's two words", "s", "dev", 36.0) for i in range(100)]
    assert Portion.of("dev", said) == Portion("dev", 100, 1, 1.0, 300)


@pytest.mark.parametrize("name", ["alone", "static", "tandem", "tandem-shared"])
def test_a_recipe_that_is_shown_can_be_trained(
    name: str, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = {"small": {"encoder": str(tmp_path / "models" / "ears")}} if name == "alone" else {}
    plan = with_places(tiny_plan(name, settings, start=begun), from_here)
    assert "models/ears" in plan.recognisers["student"].start.values() or name != "alone"
    (tmp_path / "recipe.yaml").write_text(yaml_of(plan), encoding="utf-8")
    assert read_plan(tmp_path / "recipe.yaml") == plan


def test_report_says_what_p_leaves_out() -> None:
    assert "do not cover the seeds" in render(report())


def test_errors_are_marked_by_more_than_colour(page: Page) -> None:
    marked = [each for each in page.marked if each[0] in ("del", "ins")]
    # The first four are the legend.
    assert marked[4:] == [
        ("del", "the"),
        ("del", "on"),
        ("ins", "[off]"),
        ("ins", "[now]"),
    ]
    html = re.sub(r"\s+", " ", render(report()))
    assert '<span class="instead"><del>on</del> <ins>[off]</ins></span>' in html
    assert "</span> <ins>[now]</ins>" in html


def test_hostile_text_stays_text() -> None:
    page = Page(render(report(HOSTILE)))
    assert "script" not in page.tags
    assert any(HOSTILE in row for row in page.rows)


def test_sections_without_content_are_left_out() -> None:
    full = report()
    bare = Report(
        title=full.title,
        understands="",
        corpus="",
        command="",
        lessons=[],
        portions=[],
        results=[],
        curves={},
        analyses={},
        detailed=[],
        examples=[],
        core_seconds={},
        recipes={},
    )
    page = Page(render(bare))
    assert page.rows == [list(headings("alone"))]
    assert page.alternatives == []


def test_same_report_same_file(tmp_path: Path) -> None:
    write_report(tmp_path / "a" / "report.html", report())
    write_report(tmp_path / "b.html", report())
    first = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert first == (tmp_path / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["tandem", HOSTILE])
def test_the_page_of_an_analysis_stands_alone(tmp_path: Path, text: str) -> None:
    systems = [analysed("first", text), analysed("second", text, "first")]
    write_analysis(tmp_path, systems, text)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert "script" not in page.tags
    assert len(page.alternatives) == 2 * 4
    assert (tmp_path / "analysis.json").read_text(encoding="utf-8") == as_json(systems) + "\n"


def test_the_page_of_an_analysis_leaves_out_the_folders_that_all_have_in_common(
    tmp_path: Path,
) -> None:
    runs = ("runs/all/teacher/teacher", "runs/all/alone/student")
    write_analysis(tmp_path, [analysed(run, "x", runs[0]) for run in runs], "x")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alone/student" in html
    assert "teacher/teacher" in html
    assert "runs/all" not in html


def test_the_terminal_hears_of_every_claim_and_of_what_was_skipped() -> None:
    lines = as_text([analysed("first", "x"), analysed("second", "x", "first")]).splitlines()
    assert lines[0] == "first: 2 utterances, 6 labels"
    assert sum("sounds alike: held" in line for line in lines) == 4
    assert sum(line.startswith("  against first: ") for line in lines) == 1
    assert lines.count("  skipped u9: x") == 2


def test_table_for_the_terminal() -> None:
    assert table([result("alone", None), result("tandem-shared")], "alone").splitlines() == [
        "system         strategy  encoder params        WER % [95% CI]  WERR vs alone [95% CI]"
        "      p",
        "alone          tandem         1,234,567  23.46 [22.00, 25.00]                       -"
        "      -",
        "tandem-shared  tandem         1,234,567  23.46 [22.00, 25.00]     +12.3 [-1.5, +20.2]"
        "  0.031",
    ]

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from codert.errors import InputError
from codert.evaluation.entropy import Entropies, EntropySummary, MeanEntropy
from codert.evaluation.results import Result, headings, table
from codert.experiments.report import Example, Report, Trace, read_curves, render, write_report

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
        if tag in ("del", "ins"):
            self.marked.append((tag, data))


def result(name: str = "tandem", werr: float | None = 12.345) -> Result:
    return {
        "name": name,
        "strategy": "tandem",
        "role": "student",
        "encoder_params": 1_234_567,
        "total_params": 1_500_000,
        "streams": True,
        "wer": 23.456,
        "wer_ci": [22.0, 25.0],
        "cer": 9.0,
        "words": 5400,
        "werr": werr,
        "werr_ci": None if werr is None else [-1.5, 20.25],
        "p": None if werr is None else 0.0312,
    }


def report(text: str = "tandem") -> Report:
    torch.manual_seed(0)
    mean = MeanEntropy(encoder=3.456, decoder=1.5, joint=0.25)
    traced = Entropies(torch.rand(9), torch.rand(4), torch.rand(9, 4), torch.rand(9, 4))
    return Report(
        title=text,
        understands=text,
        corpus=text,
        command=text,
        settings={text: {"epochs": 3}},
        results=[result("alone", None), result(text)],
        curves={
            text: [
                {"update": 10, "epoch": 0.5, "transducer/student": 9.0, "rate": 0.1},
                {"update": 20, "epoch": 1.0, "transducer/student": 5.0, "rate": 0.1},
                {"update": 20, "epoch": 1.0, "wer/student": 250.0, "ctc_wer/student": 99.0},
            ]
        },
        entropy={text: EntropySummary(mean, mean, 6.2)},
        traced=text,
        traces=[Trace(text, text, traced, 0.04)],
        examples=[Example("u7", "turn the lights on", {text: "turn lights off now"})],
        core_seconds={"alone": 1000.4, text: 2345.0},
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
        "student: word error rate on the development set",
        "student: transducer loss in training, smoothed",
        "tandem: tandem",
    ]


def test_tables_show_every_figure(page: Page) -> None:
    assert list(headings("alone")) in page.rows
    assert ["alone", "tandem", "1,234,567", "23.46 [22.00, 25.00]", "-", "-"] in page.rows
    assert [
        *("tandem", "tandem", "1,234,567", "23.46 [22.00, 25.00]"),
        *("+12.3 [-1.5, +20.2]", "0.031"),
    ] in page.rows
    assert ["tandem", "3.46", "1.50", "0.25", "3.46", "1.50", "0.25", "6.20"] in page.rows
    assert ["all", "3,345"] in page.rows


def test_report_says_what_p_leaves_out() -> None:
    assert "do not cover the seeds" in render(report())


def test_errors_are_marked_by_more_than_colour(page: Page) -> None:
    # The first two are the legend.
    assert page.marked[2:] == [
        ("del", "the"),
        ("del", "on"),
        ("ins", "[off]"),
        ("ins", "[now]"),
    ]


def test_hostile_text_stays_text() -> None:
    page = Page(render(report(HOSTILE)))
    assert "script" not in page.tags
    assert HOSTILE in page.rows[2]


def test_sections_without_content_are_left_out() -> None:
    full = report()
    bare = Report(
        title=full.title,
        understands="",
        corpus="",
        command="",
        settings={},
        results=[],
        curves={},
        entropy={},
        traced="",
        traces=[],
        examples=[],
        core_seconds={},
    )
    page = Page(render(bare))
    assert page.rows == [list(headings("alone"))]
    assert page.alternatives == []


def test_same_report_same_file(tmp_path: Path) -> None:
    write_report(tmp_path / "a" / "report.html", report())
    write_report(tmp_path / "b.html", report())
    first = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert first == (tmp_path / "b.html").read_text(encoding="utf-8")


def test_curves_are_read_by_plan(tmp_path: Path) -> None:
    lines = [{"update": 10, "epoch": 0.5}, {"update": 20, "epoch": 1.0, "wer/student": 50.0}]
    for plan in ("tandem", "alone"):
        (tmp_path / plan).mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / plan / "curves.jsonl").write_text(text, encoding="utf-8")
    assert read_curves(tmp_path) == {"alone": lines, "tandem": lines}


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "curves.jsonl").write_text('{"update": 1}\n{"upda', encoding="utf-8")
    with pytest.raises(InputError, match=r"alone/curves\.jsonl: line 2 is not JSON"):
        read_curves(tmp_path)


def test_table_for_the_terminal() -> None:
    assert table([result("alone", None), result("tandem-shared")], "alone").splitlines() == [
        "system         strategy  encoder params        WER % [95% CI]  WERR vs alone [95% CI]"
        "      p",
        "alone          tandem         1,234,567  23.46 [22.00, 25.00]                       -"
        "      -",
        "tandem-shared  tandem         1,234,567  23.46 [22.00, 25.00]     +12.3 [-1.5, +20.2]"
        "  0.031",
    ]

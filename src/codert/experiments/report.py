"""The report of an experiment: one HTML file that needs nothing beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from codert.errors import InputError
from codert.evaluation.entropy import Entropies, EntropySummary
from codert.evaluation.results import Result, cells, headings
from codert.evaluation.scoring import alignment
from codert.experiments.report_figures import (
    ENTROPIES,
    Curves,
    entropy_figure,
    legend,
    loss_figure,
    recognisers,
    wer_figure,
)
from codert.models.folder import write_text


@dataclass(frozen=True)
class Example:
    """A test utterance.

    Attributes:
        id: the utterance's.
        reference: what was said.
        hypotheses: what each system recognised.
    """

    id: str
    reference: str
    hypotheses: Mapping[str, str]


@dataclass(frozen=True)
class Trace:
    """The entropies of a test utterance over time.

    Attributes:
        id: the utterance's.
        reference: what was said.
        entropies: in one gauge, on the CPU.
        frame_seconds: how far apart encoder frames are.
    """

    id: str
    reference: str
    entropies: Entropies
    frame_seconds: float


@dataclass(frozen=True)
class Report:
    """All that the report shows.

    Attributes:
        title: its heading.
        understands: what the models were trained to understand, for people.
        corpus: where the speech is from, and how much.
        command: that makes this report again.
        settings: that the plans have in common, plain data.
        results: a row of the table each.
        curves: of each plan, see `read_curves`.
        entropy: of each system.
        traced: the system whose entropies `traces` shows, and in which gauge.
        traces: one figure each.
        examples: transcripts.
        core_seconds: of computing, by plan.
    """

    title: str
    understands: str
    corpus: str
    command: str
    settings: Mapping[str, Any]
    results: Sequence[Result]
    curves: Curves
    entropy: Mapping[str, EntropySummary]
    traced: str
    traces: Sequence[Trace]
    examples: Sequence[Example]
    core_seconds: Mapping[str, float]


def read_curves(run: Path) -> dict[str, list[dict[str, float]]]:
    """The lines of every RUN/PLAN/curves.jsonl, by plan.

    Raises:
        InputError: a line is not JSON.
    """
    return {path.parent.name: _lines(path) for path in sorted(run.glob("*/curves.jsonl"))}


def render(report: Report) -> str:
    """The report as HTML, without scripts and without addresses of other files."""
    return _TEMPLATES.get_template("report.html.jinja").render(
        report=report,
        headings=headings("alone"),
        rows=[cells(result) for result in report.results],
        curves=[
            (name, wer_figure(report.curves, name), loss_figure(report.curves, name))
            for name in recognisers(report.curves)
        ],
        plans=legend(report.curves),
        logits=legend(ENTROPIES),
        traces=[(t, entropy_figure(t.entropies, t.frame_seconds)) for t in report.traces],
        alignment=alignment,
        settings=json.dumps(report.settings, indent=2, ensure_ascii=False),
    )


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(path, render(report))


def _lines(path: Path) -> list[dict[str, float]]:
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {number} is not JSON: {error}; remove it") from None
    return lines


_TEMPLATES = Environment(
    loader=PackageLoader("codert.experiments", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

"""The report of an experiment: one HTML file that needs nothing beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codert.analysis.analysis import Analysed
from codert.config import plain
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.data.text import normalise
from codert.evaluation.results import Result, cells, headings
from codert.evaluation.scoring import alignment
from codert.files import write_text
from codert.learning.edges import Edge
from codert.learning.plan import Member, Plan, parts_by_folder
from codert.reports.analysis_report import section
from codert.reports.figures import (
    Curves,
    legend,
    loss_figure,
    parameters_figure,
    recognisers,
    wer_figure,
)
from codert.reports.pages import page


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
class Lesson:
    """What a system was trained as.

    Attributes:
        system: its name.
        recognisers: of its plan, and whether they learn.
        shared: what they have in common.
        edges: who teaches whom, and what is matched.
    """

    system: str
    recognisers: str
    shared: str
    edges: str

    @classmethod
    def of(cls, system: str, plan: Plan) -> "Lesson":
        """Of a plan."""
        edges = [
            f"{e.teacher} to {e.student}: {e.match}, weight {e.weight:g}" + "".join(_particular(e))
            for e in plan.edges
        ]
        return cls(
            system,
            ", ".join(f"{name} ({_origin(m)})" for name, m in plan.recognisers.items()),
            ", ".join(plan.share) or "nothing",
            "; ".join(edges) or "nobody",
        )


def _particular(edge: Edge) -> list[str]:
    """What an edge has that edges of its kind do not have by themselves."""
    usual = plain(type(edge)(edge.teacher, edge.student, weight=edge.weight))
    return [
        f", {key} {json.dumps(value) if isinstance(value, dict) else value}"
        for key, value in plain(edge).items()
        if value != usual[key]
    ]


def _origin(member: Member) -> str:
    """What a recogniser of a plan is, and what it begins with."""
    if member.frozen:
        return f"frozen, from {Path(member.frozen).name}"
    starts = (
        f"{' and '.join(parts).replace('_', ' ')} from {folder}"
        for folder, parts in parts_by_folder(member.start).items()
    )
    return ", ".join([member.model or "average", *starts])


@dataclass(frozen=True)
class Portion:
    """A split of the corpus.

    Attributes:
        split: its name.
        utterances: how many.
        speakers: how many.
        hours: of audio.
        words: of the texts.
    """

    split: str
    utterances: int
    speakers: int
    hours: float
    words: int

    @classmethod
    def of(cls, split: str, utterances: Sequence[Utterance]) -> "Portion":
        """Of the utterances of a split."""
        return cls(
            split,
            len(utterances),
            len({u.speaker for u in utterances}),
            sum(u.seconds for u in utterances) / 3600,
            sum(len(normalise(u.text).split()) for u in utterances),
        )


@dataclass(frozen=True)
class Report:
    """All that the report shows.

    Attributes:
        title: its heading.
        understands: what the models were trained to understand, for people.
        corpus: where the speech is from, and how much.
        command: that makes this report again.
        lessons: what was trained.
        portions: on what.
        results: a row of the table each.
        curves: of each plan, see `codert.learning.curves.curves_of`.
        analyses: of each system, the first being what the others agree with.
        detailed: the systems whose analysis is shown in pictures.
        examples: transcripts.
        core_seconds: of computing, by plan.
        recipes: of each plan as it was run, YAML.
        left_out: utterances that could not be used.
        aims: sentences on what was aimed for and what came out.
    """

    title: str
    understands: str
    corpus: str
    command: str
    lessons: Sequence[Lesson]
    portions: Sequence[Portion]
    results: Sequence[Result]
    curves: Curves
    analyses: Mapping[str, Analysed]
    detailed: Sequence[str]
    examples: Sequence[Example]
    core_seconds: Mapping[str, float]
    recipes: Mapping[str, str]
    left_out: Sequence[Skipped] = ()
    aims: Sequence[str] = ()


def render(report: Report) -> str:
    """The report as HTML, without scripts and without addresses of other files."""
    return page(
        "report.html.jinja",
        title=report.title,
        report=report,
        lessons=[
            (each.system, each.recognisers, each.shared, each.edges) for each in report.lessons
        ],
        headings=headings("alone"),
        rows=[cells(result) for result in report.results],
        parameters=parameters_figure(report.results) if report.results else None,
        curves=[
            (name, wer_figure(report.curves, name), loss_figure(report.curves, name))
            for name in recognisers(report.curves)
        ],
        plans=legend(report.curves),
        analysis=section(report.analyses, report.detailed) if report.analyses else None,
        alignment=alignment,
    )


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(path, render(report))

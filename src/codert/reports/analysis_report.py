"""What pages show of analyses: claims, tables and pictures; and the page of `codert analyze`."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codert.analysis.analysis import Analysed, Analysis, Claim, Gauge
from codert.analysis.confusions import Confused
from codert.config import plain
from codert.files import write_text
from codert.reports.figures import (
    ENTROPIES,
    confusion_figure,
    lattice_figure,
    legend,
    spread_figure,
    time_figure,
)
from codert.reports.image import Stroke
from codert.reports.pages import write_page

# Word-pieces in the picture of confusions, and in the list of rivals: the commonest.
_PIECES = 24

_ENTROPY_HEADINGS = (
    *("system", "where", "encoder", "decoder", "joint", "suppressed"),
    *("encoder, centred", "decoder, centred"),
)
_MASS_HEADINGS = ("system", "gauge", "label", "blank", "rivals")
_AGREEMENT_HEADINGS = (
    *("system", "encoder: same, KL", "encoder, centred: same, KL", "joint: same, KL"),
    "delay in ms: mean [5 %, 95 %]",
)


@dataclass(frozen=True)
class Pictured:
    """A system that is shown in detail.

    Attributes:
        name: its name.
        figures: addresses and texts.
        confusions: its commonest word-pieces with their rivals.
    """

    name: str
    figures: Sequence[tuple[str, str]]
    confusions: Sequence[Confused]


@dataclass(frozen=True)
class Section:
    """The part of a page that is about the logits; tables are text.

    Attributes:
        about: what was measured on.
        claims: each with how systems did, as trained and centred.
        notes: what could not be measured.
        uniform: the most that an entropy can be.
        entropy_headings: of `entropies`.
        entropies: rows.
        mass_headings: of `masses`.
        masses: rows.
        against: what agreement is with.
        agreement_headings: of `agreements`.
        agreements: rows.
        logits: names and strokes of lines of entropies.
        pictured: systems in detail.
    """

    about: str
    claims: Sequence[tuple[str, Sequence[tuple[str, Claim, Claim]]]]
    notes: Sequence[str]
    uniform: str
    entropy_headings: Sequence[str]
    entropies: Sequence[Sequence[str]]
    mass_headings: Sequence[str]
    masses: Sequence[Sequence[str]]
    against: str
    agreement_headings: Sequence[str]
    agreements: Sequence[Sequence[str]]
    logits: Sequence[tuple[str, Stroke]]
    pictured: Sequence[Pictured]


def section(systems: Mapping[str, Analysed], detailed: Collection[str]) -> Section:
    """The part of a page on these systems, the first being what the others agree with.

    Args:
        systems: by the name that the page shows.
        detailed: of which of them there are pictures.
    """
    analyses = {name: system.analysis for name, system in systems.items()}
    against, first = next(iter(analyses.items()))
    notes = {note for each in analyses.values() for note in each.notes}
    skipped = {s.id: s.reason for each in analyses.values() for s in each.skipped}
    if skipped:
        id, reason = next(iter(skipped.items()))
        notes.add(f"{len(skipped)} utterances were skipped, such as {id}: {reason}")
    uniform = {f"{a.as_trained.entropy.uniform:.2f}" for a in analyses.values()}
    return Section(
        about=f"{first.utterances:,} utterances with {first.labels:,} labels",
        claims=_claims(analyses),
        notes=sorted(notes),
        uniform=" or ".join(sorted(uniform)),
        entropy_headings=_ENTROPY_HEADINGS,
        entropies=[row for name, each in analyses.items() for row in _entropies(name, each)],
        mass_headings=_MASS_HEADINGS,
        masses=[row for name, each in analyses.items() for row in _masses(name, each)],
        against=against,
        agreement_headings=_AGREEMENT_HEADINGS,
        agreements=[row for name, each in analyses.items() for row in _agreements(name, each)],
        logits=legend(ENTROPIES),
        pictured=[_pictured(name, systems[name]) for name in systems if name in detailed],
    )


def write_analysis(folder: Path, systems: Sequence[Analysed], command: str) -> None:
    """Write analysis.json and report.html.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(folder / "analysis.json", as_json(systems) + "\n")
    names = _names([system.analysis.run for system in systems])
    named = dict(zip(names, systems, strict=True))
    write_page(
        folder / "report.html",
        "analysis_page.html.jinja",
        title="Recognisers compared by their logits",
        analysis=section(named, named),
        command=command,
    )


def as_json(systems: Sequence[Analysed]) -> str:
    """A list of one object for each system, whose keys `Analysis` documents."""
    return json.dumps([plain(s.analysis) for s in systems], indent=2, ensure_ascii=False)


def as_text(systems: Sequence[Analysed]) -> str:
    """What the paper claims and whether it held, for the terminal."""
    lines = []
    for system in systems:
        each = system.analysis
        lines.append(f"{each.run}: {each.utterances} utterances, {each.labels} labels")
        for claim in each.claims:
            held = {True: "held", False: "not held", None: "not measured"}[claim.held]
            lines.append(f"  {claim.gauge}: {claim.claim}: {held}, {claim.figures}")
        if each.agreement is not None:
            (_, encoder, _, joint, delay), *_ = _agreements("", each)
            lines.append(
                f"  against {each.agreement.against}: likeliest symbol the same and KL in nats: "
                f"encoder {encoder}, joint {joint}; emits later by {delay} ms (mean [5 %, 95 %])"
            )
        lines += [f"  {note}" for note in each.notes]
        lines += [f"  skipped {s.id}: {s.reason}" for s in each.skipped[:3]]
        if len(each.skipped) > 3:
            lines.append(f"  and {len(each.skipped) - 3} more")
    return "\n".join(lines)


def _claims(
    analyses: Mapping[str, Analysis],
) -> list[tuple[str, list[tuple[str, Claim, Claim]]]]:
    by_claim: dict[str, dict[str, dict[str, Claim]]] = {}
    for name, analysis in analyses.items():
        for each in analysis.claims:
            by_claim.setdefault(each.claim, {}).setdefault(name, {})[each.gauge] = each
    return [
        (claim, [(name, of["as_trained"], of["centred"]) for name, of in systems.items()])
        for claim, systems in by_claim.items()
    ]


def _entropies(name: str, analysis: Analysis) -> list[tuple[str, ...]]:
    def cells(gauge: Gauge, where: str) -> list[str]:
        entropy = gauge.entropy
        spreads = [getattr(s, where) for s in (entropy.encoder, entropy.decoder, entropy.joint)]
        below = getattr(entropy.joint_below_encoder, where)
        means = ["-" if s is None else f"{s.mean:.2f}" for s in spreads]
        return [*means, "-" if below is None else f"{100 * below.share:.0f} %"]

    rows = []
    for where in ("all", "blank", "emitting"):
        trained, centred = cells(analysis.as_trained, where), cells(analysis.centred, where)
        rows.append((name, where, *trained, *centred[:2]))
    return rows


def _masses(name: str, analysis: Analysis) -> list[tuple[str, ...]]:
    rows = []
    for gauge, of in (("as trained", analysis.as_trained), ("centred", analysis.centred)):
        encoder, joint = of.entropy.encoder_mass, of.entropy.joint_mass
        if encoder is not None and joint is not None:
            shares = (
                (encoder.label, joint.label),
                (encoder.blank, joint.blank),
                (encoder.rivals, joint.rivals),
            )
            rows.append((name, gauge, *(f"{a:.3f} → {b:.3f}" for a, b in shares)))
    return rows


def _names(runs: Sequence[str]) -> list[str]:
    """Folders of recognisers, without the folders above that they have in common."""
    above = os.path.commonpath([Path(run).absolute().parent.parent for run in runs])
    return [os.path.relpath(run, above) for run in runs]


def _agreements(name: str, analysis: Analysis) -> list[tuple[str, ...]]:
    found = analysis.agreement
    if found is None:
        return []
    matches = (found.as_trained, found.centred, found.joint)
    delay = found.delay_ms
    low, high = delay.quantiles[1], delay.quantiles[-2]
    return [
        (
            name,
            *(f"{match.top:.0f} %, {match.kl:.2f}" for match in matches),
            f"{delay.mean:+.0f} [{low:+.0f}, {high:+.0f}]",
        )
    ]


def _pictured(name: str, system: Analysed) -> Pictured:
    gauge = system.analysis.as_trained
    pieces = [row.piece for row in gauge.confusions[:_PIECES]]
    figures = [(spread_figure(gauge.entropy), "How the entropies are spread; the line is the most")]
    if pieces:
        text = "Encoder logits (columns) where a word-piece is emitted (rows): the commonest"
        figures.append((confusion_figure(system.symbols, system.confusions, pieces), text))
    for trace in system.traces:
        text = f"{trace.id}: {trace.reference}"
        figures += [
            (time_figure(trace), f"{text}. Log-mel spectrogram, and entropies over time"),
            (lattice_figure(trace), f"{text}. The entropy of each cell, and the best path"),
        ]
    return Pictured(name, figures, gauge.confusions[:_PIECES])

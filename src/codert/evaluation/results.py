"""A row for each system: how well it did, and what it gained over a reference."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from codert.errors import InputError
from codert.evaluation.scoring import cer, kinds, wer
from codert.evaluation.significance import bootstrap_interval, by_drawn, compare
from codert.evaluation.systems import System

_KINDS: tuple[Literal["substituted", "deleted", "inserted", "cer"], ...]
_KINDS = ("substituted", "deleted", "inserted", "cer")


def headings(reference: str) -> tuple[str, ...]:
    """Of the columns that `cells` fills; `reference` names what WERR compares with."""
    versus = f"WERR vs {reference} [95% CI]"
    return "system", "strategy", "encoder params", "WER % [95% CI]", versus, "p"


class Result(TypedDict):
    """How well one recogniser did on the test set; rates in percent, null where none applies.

    Attributes:
        name: of the recogniser.
        folder: that it is in.
        strategy: how it was trained.
        role: which of its plan's recognisers it is.
        encoder_params: weights of its encoder.
        total_params: weights that a device needs.
        streams: whether it can write while somebody speaks.
        wer: word error rate.
        wer_ci: its 95 % interval over speakers, or over utterances of one; null for one utterance.
        substituted: words that were taken for others, in percent of those said.
        deleted: words that were not heard, likewise.
        inserted: words that nobody said, likewise.
        cer: character error rate.
        words: of the test references.
        skipped: utterances that could not be scored.
        werr: relative reduction against the reference.
        werr_ci: its 95 % interval; null where the reference makes too few errors for one.
        p: of the two being equally good.
    """

    name: str
    folder: str
    strategy: str
    role: Literal["student", "teacher"]
    encoder_params: int
    total_params: int
    streams: bool
    wer: float
    wer_ci: Sequence[float] | None
    substituted: float
    deleted: float
    inserted: float
    cer: float
    words: int
    skipped: int
    werr: float | None
    werr_ci: Sequence[float] | None
    p: float | None


def results(systems: Sequence[System], reference: System | None = None) -> list[Result]:
    """A row for each system, compared with `reference` where there is one.

    Raises:
        InputError: they were not scored on the same utterances.
    """
    first = systems[0] if reference is None else reference
    ids = [each.id for each in first.scores]
    for system in systems:
        if [each.id for each in system.scores] != ids:
            raise InputError(
                f"{system.folder} and {first.folder} could not score the same utterances; "
                "leave out those that one of them skips"
            )
    return [_result(system, None if system is reference else reference) for system in systems]


def _result(system: System, reference: System | None) -> Result:
    speakers = [each.speaker for each in system.scores]
    errors, words = by_drawn(
        speakers, [each.errors for each in system.scores], [each.words for each in system.scores]
    )
    several = len(errors) > 1
    interval = bootstrap_interval(errors, words) if several else None
    before: list[int] = []
    if reference:
        [before] = by_drawn(speakers, [each.errors for each in reference.scores])
    of_kind = kinds(system.scores)
    # Of no errors none can be avoided.
    gain = compare(before, errors) if several and any(before) else None
    return Result(
        name=system.folder.name,
        folder=str(system.folder),
        strategy=system.card.strategy,
        role=system.card.role,
        encoder_params=system.encoder_params,
        total_params=system.total_params,
        streams=system.card.model.streams,
        wer=wer(system.scores),
        wer_ci=[interval.low, interval.high] if interval else None,
        substituted=of_kind.substituted,
        deleted=of_kind.deleted,
        inserted=of_kind.inserted,
        cer=cer(system.scores),
        words=sum(words),
        skipped=len(system.skipped),
        werr=gain.werr if gain else None,
        werr_ci=gain.interval if gain else None,
        p=gain.p if gain else None,
    )


def cells(result: Result) -> tuple[str, ...]:
    """A result as text, one cell for each of `headings`."""
    low, high = result["wer_ci"] or (None, None)
    rate = f"{result['wer']:.2f}"
    return (
        _marked(result["name"], result),
        result["strategy"],
        f"{result['encoder_params']:,}",
        rate if low is None or high is None else f"{rate} [{low:.2f}, {high:.2f}]",
        reduction(result["werr"], result["werr_ci"]),
        "-" if result["p"] is None else f"{result['p']:.2g}",
    )


def table(results: Sequence[Result], reference: str) -> str:
    """The results in columns, one line each; `reference` names what they are compared with."""
    rows = [(name, *cells(r)[1:]) for name, r in zip(_names(results), results, strict=True)]
    return columns([headings(reference), *rows], names=2)


def kinds_table(results: Sequence[Result]) -> str:
    """What kinds of errors they made, likewise."""
    heading = ("system", "strategy", "substituted %", "deleted %", "inserted %", "CER %")
    rows = [
        (name, r["strategy"], *(f"{r[kind]:.2f}" for kind in _KINDS))
        for name, r in zip(_names(results), results, strict=True)
    ]
    return columns([heading, *rows], names=2)


def _names(results: Sequence[Result]) -> list[str]:
    """What tells them apart: their names, or their folders where names and strategies agree."""
    alike = len({(r["name"], r["strategy"]) for r in results}) < len(results)
    return [_marked(r["folder"] if alike else r["name"], r) for r in results]


def _marked(name: str, result: Result) -> str:
    return name if result["streams"] else f"{name} (not streaming)"


def columns(rows: Sequence[Sequence[str]], names: int) -> str:
    """Rows as text, the first so many columns to the left and figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def reduction(werr: float | None, interval: Sequence[float] | None = None) -> str:
    """WERR as text, as in +12.0 [+4.1, +19.5]."""
    if werr is None:
        return "-"
    return f"{werr:+.1f}" + (f" [{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else "")

"""The rows of an experiment's comparison as text, Markdown or JSON."""

import json
from collections.abc import Sequence
from typing import Literal

from codert.evaluation.results import columns, reduction
from codert.experiments.comparison import Row

Format = Literal["text", "markdown", "json"]

_NAMES = 2  # columns that are no figures


def render(rows: Sequence[Row], format: Format) -> str:
    """A table for each corpus, with what its figures are about below; JSON is the rows alone."""
    if format == "json":
        return json.dumps(rows, indent=2)
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    parts = [_table([row for row in rows if row["corpus"] == c], format) for c in corpora]
    return "\n\n".join([*parts, "\n".join(_notes(rows))])


def _table(rows: Sequence[Row], format: Format) -> str:
    headings = (
        rows[0]["corpus"],
        "recogniser",
        "encoder params",
        "seeds",
        "WER %",
        f"WERR vs {rows[0]['reference']} [95% CI]",
        "p",
        "MAPSSWE",
        "WERR by seed",
        "core-seconds",
        "cost",
    )
    table = [headings, *map(_cells, rows)]
    if format == "text":
        return columns(table, _NAMES)
    rule = ["---" if i < _NAMES else "---:" for i in range(len(headings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *table[1:]))


def _cells(row: Row) -> tuple[str, ...]:
    spread = "" if row["wer_sd"] is None else f" ± {row['wer_sd']:.2f}"
    return (
        row["plan"],
        row["recogniser"],
        f"{row['encoder_params']:,}",
        str(len(row["seeds"])),
        f"{row['wer']:.2f}{spread}",
        reduction(row["werr"], row["werr_ci"]),
        _p(row["p"]),
        _p(row["mapsswe"]),
        ", ".join(map(reduction, row["werr_by_seed"] or [None])),
        "-" if row["seconds"] is None else f"{row['seconds']:,.0f}",
        "-" if row["cost"] is None else f"{row['cost']:.2f}",
    )


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def _notes(rows: Sequence[Row]) -> list[str]:
    splits = sorted({row["split"] for row in rows})
    notes = [
        f"WER: on the split {' and '.join(splits)}; mean ± standard deviation over seeds.",
        "Intervals and p: paired bootstrap that draws seeds and speakers together (utterances, "
        "where all are of one speaker); not corrected for the number of comparisons.",
        "MAPSSWE: p over utterances, for these models.",
        "Core-seconds: for one seed, with the teacher that has to be trained before; "
        "cost: the same, relative to the reference.",
    ]
    if len({tuple(row["seeds"]) for row in rows}) > 1:
        notes.append(
            "WERR, p and cost: over the seeds that a plan and the reference both have, so they are "
            "not the ratios of the means in the table."
        )
    if "dev" in splits:
        notes.append("The weights were chosen on the split dev, so on it WER is too low.")
    if skipped := max(row["skipped"] for row in rows):
        notes.append(f"Utterances that could not be scored, and are in no figure: {skipped}.")
    for row in rows:
        if row["heard"]:
            notes.append(
                f"{row['plan']}'s {row['recogniser']}, or what it starts or learns from, was "
                f"trained on, or chosen by, {row['heard']} of the utterances: its WER is too low."
            )
    counts = {len(row["seeds"]) for row in rows}
    if 1 in counts:
        notes.append("One seed: interval and p cover the speakers only, and there is no spread.")
    if counts & {2, 3}:
        notes.append(
            "Two or three seeds: p is too small where seeds differ much, too large where they "
            "hardly do; read WERR by seed beside it."
        )
    return notes

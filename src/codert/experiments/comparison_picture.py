"""The rows of an experiment's comparison as a picture: what each plan gained over the reference."""

from collections.abc import Sequence

from codert.errors import InputError
from codert.experiments.comparison import Row
from codert.reports.image import Image, Stroke

_PLOT, _LETTER = 3.0, 0.075  # inches: how wide the plot is, and a letter of the names beside it


def picture(rows: Sequence[Row]) -> bytes:
    """WERR of every recogniser as SVG: its interval, and a point for each seed.

    Raises:
        InputError: nothing is there to compare with the reference.
    """
    drawn = [
        (row, row["werr"], row["werr_ci"], [w for w in row["werr_by_seed"] if w is not None])
        for row in rows
        if row["werr"] is not None and row["werr_ci"] and row["werr_by_seed"]
    ]
    if not drawn:
        raise InputError(
            f"nothing to draw: no plan has a seed in common with {rows[0]['reference']!r} yet; "
            "finish the experiment, or compare --against another"
        )
    corpora = {row["corpus"] for row in rows}
    names = [_name(row, corpora) for row, *_ in drawn]
    x = f"WERR vs {rows[0]['reference']}, %"
    width = _PLOT + _LETTER * max(map(len, names))
    image = Image(x, "", height=0.9 + 0.32 * len(drawn), width=width)
    for place, (row, werr, interval, by_seed) in enumerate(drawn):
        colour = Stroke.of(row["role"] == "teacher").colour
        image.axes.plot(interval, [place, place], color=colour)
        image.axes.plot(werr, place, "|", color=colour, markersize=14)
        image.axes.plot(by_seed, [place] * len(by_seed), "o", color=colour, markersize=4)
    image.axes.axvline(0, color="black", linewidth=0.8)
    image.axes.set_yticks(range(len(drawn)), names)
    image.axes.set_ylim(len(drawn) - 0.5, -0.5)  # the first on top, and no mark cut
    return image.svg()


def _name(row: Row, corpora: set[str]) -> str:
    corpus = f"{row['corpus']}: " if len(corpora) > 1 else ""
    return f"{corpus}{row['plan']} ({row['recogniser']})"

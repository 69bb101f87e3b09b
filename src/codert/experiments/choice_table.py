"""A choice as text, and as a picture."""

import os

from matplotlib.ticker import LogLocator, NullFormatter

from codert.evaluation.results import columns
from codert.experiments.choice import Choice, Point
from codert.reports.image import Image, Stroke

_SHOWN = 8  # of what is left out


def table(choice: Choice, machine: str) -> str:
    """All that was to choose from, the smallest first, and what was chosen.

    Args:
        choice: with its points.
        machine: that the real-time factors were measured on.
    """
    names = ("experiment", "plan", "recogniser", "role")
    headings = (*names, "params", "MB", "RTF", "seeds", "WER %", "fits", "")
    chosen, left_out = choice["chosen"], choice["left_out"]
    more = len(left_out) - _SHOWN
    return "\n".join(
        [
            columns([headings, *(_cells(point, chosen) for point in choice["points"])], len(names)),
            "",
            f"WER: recorded, on {choice['corpus']}, split {choice['split']}; mean ± standard "
            "deviation over seeds.",
            f"RTF: measured now on {machine}, one thread, an utterance at a time.",
            "On the curve: no student as small or smaller makes as few errors.",
            *(f"Left out: {each}." for each in left_out[:_SHOWN]),
            *([f"Left out: {more} more, which --json lists."] if more > 0 else []),
            f"chosen: {os.path.relpath(chosen['folder'])}",
        ]
    )


def picture(choice: Choice) -> bytes:
    """WER against size as SVG: students, the curve of the best, teachers, and what was chosen."""
    image = Image("MB of weights", f"WER on {choice['corpus']}, %")
    points = choice["points"]
    curve = [point for point in points if point["on_curve"]]
    image.axes.set_xscale("log")
    image.axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    image.axes.xaxis.set_major_formatter("{x:g}")
    image.axes.xaxis.set_minor_formatter(NullFormatter())
    # Between two points of the curve the smaller is the best that fits.
    image.axes.step(
        [p["mb"] for p in curve], [p["wer"] for p in curve], where="post", color=Stroke.of(0).colour
    )
    for index, role in enumerate(("student", "teacher")):
        of_role = [point for point in points if point["role"] == role]
        image.axes.errorbar(
            [p["mb"] for p in of_role],
            [p["wer"] for p in of_role],
            yerr=[p["wer_sd"] or 0.0 for p in of_role],
            fmt="os"[index],
            color=Stroke.of(index).colour,
            markersize=4,
            linewidth=1,
            label=role,
        )
    chosen = choice["chosen"]
    image.axes.scatter(
        [chosen["mb"]], [chosen["wer"]], 90, facecolors="none", edgecolors="black", label="chosen"
    )
    for point in (*curve, *([] if chosen in curve else [chosen])):
        image.axes.annotate(
            point["plan"], (point["mb"], point["wer"]), (5, 5), textcoords="offset points"
        )
    image.axes.legend(frameon=False)
    return image.svg()


def _cells(point: Point, chosen: Point) -> tuple[str, ...]:
    spread = "" if point["wer_sd"] is None else f" ± {point['wer_sd']:.2f}"
    mark = "chosen" if point is chosen else "on the curve" if point["on_curve"] else ""
    return (
        point["experiment"],
        point["plan"],
        point["recogniser"],
        point["role"],
        f"{point['total_params']:,}",
        f"{point['mb']:.3g}",
        f"{point['rtf']:.3g}",
        str(len(point["seeds"])),
        f"{point['wer']:.2f}{spread}",
        "yes" if point["fits"] else "no",
        mark,
    )

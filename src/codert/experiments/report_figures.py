"""The report's figures, as SVG in data: addresses.

An <img> keeps the ids of one figure apart from another's, and one figure a panel lets the
page arrange the panels for its width.
"""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from codert.evaluation.entropy import Entropies

Curves = Mapping[str, Sequence[Mapping[str, float]]]
"""The lines of each plan's curves.jsonl: "epoch", "transducer/student", "wer/student", ..."""

_LOSS = "transducer/"
_POINTS = 60


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn: its colour, and its dashes and gaps in points, none if solid."""

    colour: str
    dashes: tuple[int, ...]

    @classmethod
    def of(cls, index: int) -> "Stroke":
        """That of the line of this index; the first 28 differ."""
        return cls(_COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)])


# Okabe and Ito's colours, told apart by the colour-blind; the dashes tell them apart in grey.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
_DASHES = ((), (6, 2), (6, 2, 1, 2), (2, 2))

ENTROPIES = ("encoder logits", "decoder logits", "joint logits")
"""The lines of an entropy figure."""

_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "svg.hashsalt": "codert",  # the same data give the same file
}


def legend(names: Iterable[str]) -> list[tuple[str, Stroke]]:
    """Names with the strokes of their lines; the page writes it, in the fonts that it has."""
    return [(name, Stroke.of(index)) for index, name in enumerate(names)]


def recognisers(curves: Curves) -> list[str]:
    """The recognisers that learned, in the order in which they appear."""
    keys = (key for lines in curves.values() for line in lines for key in line)
    return list(dict.fromkeys(key.removeprefix(_LOSS) for key in keys if key.startswith(_LOSS)))


def wer_figure(curves: Curves, recogniser: str) -> str:
    """A recogniser's WER on the development set over epochs, one line for each plan."""
    image = Image("epoch", "WER on dev, %")
    for index, epochs, rates in _series(curves, f"wer/{recogniser}"):
        image.draw(index, epochs, rates, marker=".")
    # The first evaluations may lie far above 100 and would flatten the rest.
    image.axes.set_ylim(0, min(100, image.axes.get_ylim()[1]))
    return image.address()


def loss_figure(curves: Curves, recogniser: str) -> str:
    """A recogniser's transducer loss in training over epochs, one line for each plan."""
    image = Image("epoch", "training loss, nats per label")
    for index, epochs, losses in _series(curves, f"{_LOSS}{recogniser}"):
        image.draw(index, _thinned(epochs), _thinned(losses))
    return image.address()


def entropy_figure(entropies: Entropies, frame_seconds: float) -> str:
    """The `ENTROPIES` of an utterance over time; decoder and joint where the alignment passes."""
    image = Image("seconds", "entropy, nats")
    lines = (entropies.encoder, entropies.decoder_by_frame, entropies.joint_by_frame)
    for index, line in enumerate(lines):
        values = line.tolist()
        image.draw(index, [t * frame_seconds for t in range(len(values))], values)
    image.axes.set_ylim(bottom=0)
    return image.address()


class Image:
    """One pair of axes in the report's style, with the names of both and a height in inches."""

    def __init__(self, x: str, y: str, height: float = 3.0) -> None:
        with mpl.rc_context(_STYLE):
            self.figure = Figure(figsize=(4.6, height), layout="constrained")
            self.axes = self.figure.add_subplot(xlabel=x, ylabel=y)

    def draw(self, index: int, x: list[float], y: list[float], marker: str = "") -> None:
        """The line of this index."""
        stroke = Stroke.of(index)
        style: Any = (0, stroke.dashes) if stroke.dashes else "-"
        self.axes.plot(x, y, color=stroke.colour, linestyle=style, marker=marker)

    def svg(self) -> bytes:
        """The file."""
        with mpl.rc_context(_STYLE):
            file = io.BytesIO()
            self.figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    def address(self) -> str:
        """The file as an address that holds it."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg()).decode()


def _series(curves: Curves, key: str) -> Iterator[tuple[int, list[float], list[float]]]:
    """Index, epochs and values of the plans that have `key`."""
    for index, lines in enumerate(curves.values()):
        points = [(line["epoch"], line[key]) for line in lines if key in line]
        if points:
            epochs, values = zip(*points, strict=True)
            yield index, list(epochs), list(values)


def _thinned(values: Sequence[float]) -> list[float]:
    """At most `_POINTS` values, each the mean of its neighbours."""
    blocks = np.array_split(np.asarray(values), min(_POINTS, len(values)))
    return [float(block.mean()) for block in blocks]

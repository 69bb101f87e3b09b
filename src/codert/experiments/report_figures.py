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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from codert.analysis.analysis import Trace
from codert.analysis.distribution import STEPS, Numbers
from codert.analysis.entropy import EntropySummary
from codert.evaluation.results import Result

Curves = Mapping[str, Sequence[Mapping[str, float]]]
"""The lines of each plan's curves.jsonl: "epoch", "transducer/student", "wer/student", ..."""

_LOSS = "transducer/"
_POINTS = 60
_LONGEST = 20  # characters of a name in a figure


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
_MARKERS = "osD^vP*X"

ENTROPIES = ("encoder logits", "decoder logits", "joint logits")
"""The lines of figures of entropies."""

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
    image = _Image("epoch", "WER on dev, %")
    for index, epochs, rates in _series(curves, f"wer/{recogniser}"):
        image.draw(index, epochs, rates, marker=".")
    # The first evaluations may lie far above 100 and would flatten the rest.
    image.axes.set_ylim(0, min(100, image.axes.get_ylim()[1]))
    return image.address()


def loss_figure(curves: Curves, recogniser: str) -> str:
    """A recogniser's transducer loss in training over epochs, one line for each plan."""
    image = _Image("epoch", "training loss, nats per label")
    for index, epochs, losses in _series(curves, f"{_LOSS}{recogniser}"):
        image.draw(index, _thinned(epochs), _thinned(losses))
    return image.address()


def parameters_figure(results: Sequence[Result]) -> str:
    """WER against the encoder's weights, a point with its interval for each system."""
    image = _Image("encoder parameters, thousands", "WER on test, %")
    for index, result in enumerate(results):
        low, high = result["wer_ci"]
        rate, thousands = result["wer"], result["encoder_params"] / 1000
        image.axes.errorbar(
            [thousands],
            [rate],
            yerr=[[max(0.0, rate - low)], [max(0.0, high - rate)]],
            color=Stroke.of(index).colour,
            marker=_MARKERS[index % len(_MARKERS)],
            label=escaped(result["strategy"] or result["name"]),
            capsize=3,
            linestyle="",
        )
    image.axes.margins(x=0.15, y=0.1)
    image.axes.set_ylim(bottom=0)
    image.axes.legend(fontsize=8)
    return image.address()


def spread_figure(summary: EntropySummary) -> str:
    """How the entropies of `ENTROPIES` are spread: the share that is lower."""
    image = _Image("entropy, nats", "share that is lower, %")
    for index, spread in enumerate((summary.encoder, summary.decoder, summary.joint)):
        image.draw(index, list(spread.all.quantiles), list(map(float, STEPS)))
    image.axes.axvline(summary.uniform, color="#8c8c8c", linewidth=0.8)
    image.axes.set_xlim(left=0)
    return image.address()


def time_figure(trace: Trace) -> str:
    """The log-mel spectrogram, and the `ENTROPIES` below; where the alignments pass."""
    image = _Image("seconds", "entropy, nats", above="mel band")
    seconds = len(trace.features) * trace.feature_seconds
    image.heat(trace.features.numpy().T, (0, seconds, 0, trace.features.shape[1]), image.above)
    entropies = trace.entropies
    lines = (entropies.encoder, entropies.decoder_by_frame, entropies.joint_by_frame)
    for index, line in enumerate(lines):
        values = line.tolist()
        image.draw(index, [t * trace.frame_seconds for t in range(len(values))], values)
    image.axes.set_ylim(bottom=0)
    image.axes.set_xlim(0, seconds)
    return image.address()


def lattice_figure(trace: Trace) -> str:
    """The entropy of every cell of an utterance's lattice, and its best path."""
    image = _Image("seconds", "labels emitted", tall=True)
    entropy, second = trace.entropies.joint, trace.frame_seconds
    T, U1 = entropy.shape
    box = (-0.5 * second, (T - 0.5) * second, -0.5, U1 - 0.5)
    image.scale(image.heat(entropy.numpy().T, box), "entropy, nats")
    times, positions = [0.0], [0.0]
    for u, frame in enumerate(trace.entropies.emitted.tolist()):
        times += [frame * second, frame * second]
        positions += [u, u + 1.0]
    times.append((T - 1) * second)
    positions.append(U1 - 1.0)
    image.axes.plot(times, positions, color="white", linewidth=3)
    image.axes.plot(times, positions, color=_COLOURS[1], linewidth=1.5)
    names = ["", *trace.pieces]
    image.axes.set_yticks(range(U1), map(escaped, names), fontsize=min(9, 160 / U1))
    return image.address()


def confusion_figure(symbols: Sequence[str], confusions: Numbers, pieces: Sequence[str]) -> str:
    """What the encoder logits say (columns) where each of some pieces is emitted (rows)."""
    image = _Image("encoder logits", "emitted", tall=True)
    ids = [symbols.index(piece) for piece in pieces]
    image.scale(image.heat(confusions[np.ix_(ids, ids)], None), "mean probability")
    image.axes.invert_yaxis()
    names = list(map(escaped, pieces))
    size = min(9.0, 170 / max(1, len(ids)))
    image.axes.set_xticks(range(len(ids)), names, fontsize=size, rotation=90)
    image.axes.set_yticks(range(len(ids)), names, fontsize=size)
    return image.address()


def escaped(text: str) -> str:
    """A name as matplotlib writes it, shortened; word boundaries of word-pieces as underscores."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return short.replace("▁", "_").replace("$", r"\$")


class _Image:
    """Axes in the report's style; perhaps others above that share their x axis."""

    def __init__(self, x: str, y: str, above: str | None = None, tall: bool = False) -> None:
        height = 4.2 if tall or above else 3.0
        with mpl.rc_context(_STYLE):
            self.figure = Figure(figsize=(4.6, height), layout="constrained")
            if above is None:
                self.axes = self.figure.add_subplot(xlabel=x, ylabel=y)
            else:
                self.above, self.axes = self.figure.subplots(2, sharex=True)
                self.above.set_ylabel(above)
                self.axes.set_xlabel(x)
                self.axes.set_ylabel(y)

    def draw(self, index: int, x: list[float], y: list[float], marker: str = "") -> None:
        stroke = Stroke.of(index)
        style: Any = (0, stroke.dashes) if stroke.dashes else "-"
        self.axes.plot(x, y, color=stroke.colour, linestyle=style, marker=marker)

    def heat(
        self,
        values: Numbers,
        box: tuple[float, float, float, float] | None,
        axes: Axes | None = None,
    ) -> AxesImage:
        """A heat map with its first row at the bottom; box is left, right, bottom and top."""
        axes = self.axes if axes is None else axes
        axes.grid(False)
        return axes.imshow(
            values,
            cmap="cividis",
            extent=box,
            aspect="auto",
            origin="lower",
            interpolation="nearest",
        )

    def scale(self, heat: AxesImage, label: str) -> None:
        """The colours of a heat map, named."""
        self.figure.colorbar(heat, ax=self.axes, label=label)

    def address(self) -> str:
        with mpl.rc_context(_STYLE):
            file = io.BytesIO()
            self.figure.savefig(file, format="svg", metadata={"Date": None})
        return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


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

"""The report's figures, as SVG in data: addresses.

An <img> keeps the ids of one figure apart from another's, and one figure a panel lets the
page arrange the panels for its width.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from codert.analysis.analysis import Trace
from codert.analysis.distribution import STEPS, Numbers
from codert.analysis.entropy import EntropySummary
from codert.evaluation.results import Result
from codert.reports.image import MARKERS, TALL, Image, Stroke, escaped

Curves = Mapping[str, Sequence[Mapping[str, float]]]
"""The lines of each plan's curves.jsonl: "epoch", "transducer/student", "wer/student", ..."""

_LOSS = "transducer/"
_POINTS = 60


ENTROPIES = ("encoder logits", "decoder logits", "joint logits")
"""The lines of figures of entropies."""


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


def parameters_figure(results: Sequence[Result]) -> str:
    """WER against the encoder's weights, a point with its interval for each system."""
    image = Image("encoder parameters, thousands", "WER on test, %")
    for index, result in enumerate(results):
        rate, thousands = result["wer"], result["encoder_params"] / 1000
        low, high = result["wer_ci"] or (rate, rate)
        image.axes.errorbar(
            [thousands],
            [rate],
            yerr=[[max(0.0, rate - low)], [max(0.0, high - rate)]],
            color=Stroke.of(index).colour,
            marker=MARKERS[index % len(MARKERS)],
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
    image = Image("entropy, nats", "share that is lower, %")
    for index, spread in enumerate((summary.encoder, summary.decoder, summary.joint)):
        image.draw(index, list(spread.all.quantiles), list(map(float, STEPS)))
    image.axes.axvline(summary.uniform, color="#8c8c8c", linewidth=0.8)
    image.axes.set_xlim(left=0)
    return image.address()


def time_figure(trace: Trace) -> str:
    """The log-mel spectrogram, and the `ENTROPIES` below; where the alignments pass."""
    image = Image("seconds", "entropy, nats", above="mel band", height=TALL)
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
    image = Image("seconds", "labels emitted", height=TALL)
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
    image.axes.plot(times, positions, color=Stroke.of(1).colour, linewidth=1.5)
    names = ["", *trace.pieces]
    image.axes.set_yticks(range(U1), map(escaped, names), fontsize=min(9, 160 / U1))
    return image.address()


def confusion_figure(symbols: Sequence[str], confusions: Numbers, pieces: Sequence[str]) -> str:
    """What the encoder logits say (columns) where each of some pieces is emitted (rows)."""
    image = Image("encoder logits", "emitted", height=TALL)
    ids = [symbols.index(piece) for piece in pieces]
    image.scale(image.heat(confusions[np.ix_(ids, ids)], None), "mean probability")
    image.axes.invert_yaxis()
    names = list(map(escaped, pieces))
    size = min(9.0, 170 / max(1, len(ids)))
    image.axes.set_xticks(range(len(ids)), names, fontsize=size, rotation=90)
    image.axes.set_yticks(range(len(ids)), names, fontsize=size)
    return image.address()


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

"""Pictures in one style: strokes that can be told apart, axes, SVG."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from codert.analysis.distribution import Numbers

# Okabe and Ito's colours, told apart by the colour-blind; the dashes tell them apart in grey.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
_DASHES = ((), (6, 2), (6, 2, 1, 2), (2, 2))
MARKERS = "osD^vP*X"
LOW, TALL, WIDE = 3.0, 4.2, 4.6  # inches
_LONGEST = 20  # characters of a name

_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "svg.hashsalt": "codert",  # the same data give the same file
}


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn: its colour, and its dashes and gaps in points, none if solid."""

    colour: str
    dashes: tuple[int, ...]

    @classmethod
    def of(cls, index: int) -> "Stroke":
        """That of the line of this index; the first 28 differ."""
        return cls(_COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)])


class Image:
    """Axes in one style, with the names of both; perhaps others above that share their x axis.

    Args:
        x: what runs to the right.
        y: what runs up.
        above: what runs up in the axes above, if there are to be any.
        height: in inches.
        width: likewise.
    """

    def __init__(
        self,
        x: str,
        y: str,
        above: str | None = None,
        height: float = LOW,
        width: float = WIDE,
    ) -> None:
        with mpl.rc_context(_STYLE):
            self.figure = Figure(figsize=(width, height), layout="constrained")
            if above is None:
                self.axes = self.figure.add_subplot(xlabel=x, ylabel=y)
            else:
                self.above, self.axes = self.figure.subplots(2, sharex=True)
                self.above.set_ylabel(above)
                self.axes.set_xlabel(x)
                self.axes.set_ylabel(y)

    def draw(self, index: int, x: list[float], y: list[float], marker: str = "") -> None:
        """The line of this index."""
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

    def svg(self) -> bytes:
        """The file."""
        with mpl.rc_context(_STYLE):
            file = io.BytesIO()
            self.figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    def address(self) -> str:
        """The file as an address that holds it."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg()).decode()


def escaped(text: str) -> str:
    """A name as matplotlib writes it, shortened; word boundaries of word-pieces as underscores."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return short.replace("▁", "_").replace("$", r"\$")

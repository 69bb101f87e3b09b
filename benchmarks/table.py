"""Fills docs/performance.md and docs/methods.md with the figures of docs/performance/*.json.

python benchmarks/table.py
"""

import json
import re
import sys
from pathlib import Path

from measure import Row

DOCS = Path(__file__).parents[1] / "docs"
PAGE, METHODS_PAGE = DOCS / "performance.md", DOCS / "methods.md"
FOLDER = DOCS / "performance"
PICTURE = FOLDER / "growth.svg"
NAMES = ("loss", "distillation", "decoding", "step")
_PLACE = "<!-- {0} -->\n{1}<!-- end of {0} -->"
# Of a method, in the last columns of its row in docs/methods.md, behind its name.
_COLUMNS = ("seconds", "peak_mb", "ratio_time", "ratio_memory")
_ROW = re.compile(rf"^(\|.*\| `(\w+)` )(?:\|[^|\n]*){{{len(_COLUMNS)}}}\|$", re.MULTILINE)


def read(name: str) -> list[Row]:
    """What a benchmark has written; nothing where it has not."""
    path = FOLDER / f"{name}.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return rows


def table(rows: list[Row]) -> str:
    """Rows in Markdown; every key is a column."""
    keys = list(rows[0])
    lines = [keys, ["---:" if isinstance(rows[0][k], (int, float)) else "---" for k in keys]]
    lines += [[_text(row[k]) for k in keys] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(page: str, name: str, content: str) -> str:
    """The page with the content of a place replaced.

    Raises:
        SystemExit: the page has no such place.
    """
    place = re.compile(_PLACE.format(name, "(.*?)"), re.DOTALL)
    if not place.search(page):
        sys.exit(f"the page has no place <!-- {name} --> ... <!-- end of {name} -->")
    return place.sub(lambda _: _PLACE.format(name, content), page)


def with_costs(page: str, rows: list[Row]) -> str:
    """docs/methods.md with what each method costs, at the first size that was measured.

    Raises:
        SystemExit: a method that was measured has no row.
    """
    size = {key: rows[0][key] for key in "BTUV"}
    costs = {row["method"]: row for row in rows if size.items() <= row.items()}
    if missing := costs.keys() - {name for _, name in _ROW.findall(page)}:
        sys.exit(f"{METHODS_PAGE} has no row for {', '.join(sorted(missing))}")

    def row(found: re.Match[str]) -> str:
        if found[2] not in costs:
            return found[0]
        return f"{found[1]}| {' | '.join(_text(costs[found[2]][c]) for c in _COLUMNS)} |"

    sizes = ", ".join(f"{key} {value}" for key, value in size.items())
    return filled(_ROW.sub(row, page), "size", f"Measured at {sizes}.\n")


def draw(rows: list[Row], path: Path) -> None:
    """Seconds and memory of codert and dense, additive, as T, U and V grow."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "codert"  # the same file from the same figures
    from matplotlib import pyplot as plt

    base = {"B": 8, "T": 150, "U": 30, "V": 500}
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), sharey="row", layout="constrained")
    for column, size in zip(axes.T, "TUV", strict=True):
        fixed = {k: v for k, v in base.items() if k != size}
        for system, colour in (("codert", "C0"), ("dense", "C1")):
            found = sorted(
                (row[size], row["seconds"], row["peak_mb"])
                for row in rows
                if row["system"] == system
                and row["joint"] == "additive"
                and all(row[k] == v for k, v in fixed.items())
            )
            for axis, values in zip(column, list(zip(*found, strict=True))[1:], strict=True):
                axis.plot([f[0] for f in found], values, "o-", color=colour, label=system)
        for axis in column:
            axis.set(xscale="log", yscale="log", xlabel=size)
            sizes = sorted({row[size] for row in rows if all(row[k] == fixed[k] for k in fixed)})
            axis.set_xticks(sizes, [str(n) for n in sizes])
            axis.minorticks_off()
            axis.grid(visible=True, alpha=0.3)
        column[0].set_title(", ".join(f"{k} {v}" for k, v in fixed.items()), fontsize=9)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory over inputs, MB")
    axes[0, 0].legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Write what there are figures for."""
    page = PAGE.read_text(encoding="utf-8")
    for name in NAMES:
        if rows := read(name):
            page = filled(page, name, table(rows))
    if rows := read("loss"):
        draw(rows, PICTURE)
        picture = "![Seconds and memory as T, U and V grow](performance/growth.svg)\n"
        page = filled(page, "growth", picture)
    PAGE.write_text(page, encoding="utf-8")
    if rows := read("distillation"):
        page = with_costs(METHODS_PAGE.read_text(encoding="utf-8"), rows)
        METHODS_PAGE.write_text(page, encoding="utf-8")


def _text(value: object) -> str:
    if not isinstance(value, float):
        return f"{value}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


if __name__ == "__main__":
    main()

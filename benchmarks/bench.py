"""The short form of all benchmarks; says which ratios fell below the stored ones.

    python benchmarks/bench.py            # compares, and fails where a ratio fell
    python benchmarks/bench.py --store    # stores this machine's ratios in place of the others

Seconds differ from machine to machine and hour to hour; ratios measured side by side differ less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import Row

HERE = Path(__file__).parent
STORED = HERE / "stored.json"
# A ratio must be worse by this factor to count: runs of the same code differ by nearly as much.
_TOLERANCE = 1.5


@dataclass(frozen=True)
class Benchmark:
    """A script and how its rows are read.

    Attributes:
        key: the columns that tell its rows apart.
        larger: ratios that are better when they are larger.
        smaller: ratios that are better when they are smaller.
    """

    key: tuple[str, ...]
    larger: tuple[str, ...] = ()
    smaller: tuple[str, ...] = ()

    def ratios(self, script: str, rows: list[Row]) -> dict[str, float]:
        """All ratios by name, such that larger is better."""
        found: dict[str, float] = {}
        for row in rows:
            name = " ".join([script, *(f"{key}={row[key]}" for key in self.key)])
            found |= {f"{name} {ratio}": row[ratio] for ratio in self.larger}
            found |= {f"{name} 1/{ratio}": 1 / row[ratio] for ratio in self.smaller}
        return found


BENCHMARKS = {
    "loss": Benchmark(("joint", "system", *"BTUV"), larger=("ratio_time", "ratio_memory")),
    "distillation": Benchmark(("method",), smaller=("ratio_time", "ratio_memory")),
    "decoding": Benchmark(("model", "batch"), larger=("ratio_time",)),
    "step": Benchmark(("plan",), larger=("loader_ratio",), smaller=("ratio_time",)),
}


def measure() -> dict[str, float]:
    """The ratios of all short forms."""
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for script, benchmark in BENCHMARKS.items():
            path = Path(folder) / f"{script}.json"
            command = [sys.executable, str(HERE / f"{script}.py"), "--short", "--json", str(path)]
            subprocess.run(command, check=True)
            ratios |= benchmark.ratios(script, json.loads(path.read_text(encoding="utf-8")))
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def fallen(now: dict[str, float], stored: dict[str, float]) -> list[str]:
    """A line for each ratio that fell, or that is no longer measured."""
    lines = []
    for name, before in stored.items():
        if name not in now:
            lines.append(f"gone: {name} ({before})")
        elif now[name] * _TOLERANCE < before:
            lines.append(f"fell: {name} from {before} to {now[name]}")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", action="store_true", help="store the ratios measured")
    store = parser.parse_args().store
    if not store and not STORED.exists():
        sys.exit(f"{STORED} is missing; write it with --store while the machine is idle")
    now = measure()
    if store:
        STORED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return
    lines = fallen(now, json.loads(STORED.read_text(encoding="utf-8")))
    print("\n".join(lines) or f"no ratio fell by a factor of {_TOLERANCE}")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()

"""The curves of a run: losses and development WER, a line of `curves.jsonl` at a time."""

import json
from pathlib import Path

from codert.errors import InputError
from codert.learning.run_folder import CURVES


def curves_of(run: Path) -> list[dict[str, float]]:
    """The lines of a run's curves; none before the first.

    The last may be cut off, being written or where the run was killed, and does not count then.

    Raises:
        InputError: another line is not JSON.
    """
    path = run / CURVES
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    curves = []
    for number, line in enumerate(whole, start=1):
        try:
            curves.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON: {error}; remove it") from None
    return curves


def newest(run: Path) -> dict[str, float]:
    """The newest value of each of a run's curves; empty before the first.

    Raises:
        InputError: a line is not JSON.
    """
    return {name: value for line in curves_of(run) for name, value in line.items()}

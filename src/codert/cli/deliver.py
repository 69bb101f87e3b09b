"""`codert choose` and `codert export`: what goes to a device."""

import argparse
import json
import math
import sys
from pathlib import Path

from codert.cli.arguments import Verbs, data_argument, limit, verb


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    choose = verb(
        verbs,
        "choose",
        _choose,
        "the best student within a budget, of those that experiments trained and scored",
        "codert choose --max-mb 5 --max-rtf 0.05    or    codert choose runs/an4 --max-mb 5",
    )
    choose.add_argument(
        "folder",
        type=Path,
        nargs="*",
        metavar="FOLDER",
        help="an experiment's, with its results and runs; or any of its runs (all in runs)",
    )
    choose.add_argument(
        "--max-mb", type=limit, default=math.inf, metavar="MB", help="of weights on disk"
    )
    choose.add_argument(
        "--max-rtf",
        type=limit,
        default=math.inf,
        metavar="RTF",
        help="seconds of computing for one of audio, by one thread of this machine",
    )
    choose.add_argument("--split", default="test", help="that WER is of (test)")
    choose.add_argument(
        "--corpus",
        metavar="NAME",
        help="that WER is of, by its name in experiments, where there are several",
    )
    choose.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw WER against size, an SVG file"
    )
    choose.add_argument("--json", action="store_true", help="print all of it as JSON")

    export = verb(
        verbs,
        "export",
        _export,
        "copy a recogniser with a model card that says what it is and how well it does",
        "codert export runs/an4/an4/seed0/static/student --out models/an4 --data $AN4/manifest.tsv",
    )
    export.add_argument("run", type=Path, metavar="RUN", help="a recogniser's folder")
    export.add_argument("--out", type=Path, required=True, help="the folder of the copy")
    data_argument(export)
    export.add_argument("--json", action="store_true", help="print files and scores as JSON")


def _choose(options: argparse.Namespace) -> int:
    from codert.experiments.candidates import experiments_in
    from codert.experiments.choice import Budget, choose
    from codert.experiments.choice_table import picture, table
    from codert.files import write_bytes
    from codert.learning.machine import machine, name_of

    name = name_of(machine("cpu", threads=1))
    folders = options.folder or experiments_in(Path("runs"), options.split, options.corpus)
    budget = Budget(options.max_mb, options.max_rtf)
    choice = choose(folders, options.split, budget, options.corpus)
    if options.picture:
        write_bytes(options.picture, picture(choice))
    print(
        json.dumps({"machine": name, **choice}, indent=2) if options.json else table(choice, name)
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    from codert.config import plain
    from codert.experiments.export import export

    exported = export(options.run, options.out, options.data)
    if options.json:
        found = plain(exported) | {"folder": str(exported.folder)}
        print(json.dumps(found, indent=2))
        return 0
    size = sum(exported.files.values()) / 1e6
    print(f"{exported.folder}: {size:.2f} MB in {len(exported.files)} files")
    for score in exported.scores:
        print(f"WER on {score.corpus}, {score.split}: {score.wer:.1f}%")
    if not exported.scores:
        print(
            "its card has no WER: results are recorded by `codert experiment FILE`", file=sys.stderr
        )
    return 0

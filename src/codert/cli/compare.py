"""`codert demo` and `codert experiment`: plans against each other."""

import argparse
import json
import math
import shlex
import sys
import time
from pathlib import Path

from codert.cli.arguments import (
    Verbs,
    cache_argument,
    count,
    device_argument,
    duration,
    many,
    settings_arguments,
    verb,
)


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    demo = verb(
        verbs,
        "demo",
        _demo,
        "train five students and their teacher, and show what each student gained",
        "codert demo    or    codert demo --corpus MANIFEST --settings recipes/settings/an4.yaml",
    )
    demo.add_argument("--corpus", type=Path, metavar="MANIFEST", help="in place of spoken commands")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="(runs/demo)")
    settings_arguments(demo)
    demo.add_argument("--json", action="store_true", help="print the rows as JSON")
    cache_argument(demo)

    experiment = verb(
        verbs,
        "experiment",
        _experiment,
        "train and score what is missing of a matrix of plans, seeds, corpora and folds",
        "codert experiment recipes/experiments/an4.yaml --jobs 2 --for 9m",
    )
    experiment.add_argument("file", type=Path, metavar="FILE", help="the experiment, a YAML file")
    experiment.add_argument("--out", type=Path, help="of runs and results (runs/NAME)")
    experiment.add_argument(
        "--jobs",
        type=count,
        default=1,
        help="trainings side by side (1); `codert estimate` says what memory one takes",
    )
    experiment.add_argument(
        "--for",
        type=duration,
        default=math.inf,
        dest="seconds",
        metavar="TIME",
        help="stop after so long, as in 9m or 1h30m; the same command goes on",
    )
    experiment.add_argument(
        "--table", action="store_true", help="show what is recorded, and train nothing"
    )
    experiment.add_argument(
        "--against", metavar="PLAN", help="what WERR and p compare with (the file's reference)"
    )
    experiment.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="of the table (text)"
    )
    experiment.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="same as --format json",
    )
    experiment.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw WERR by plan, an SVG file"
    )
    cache_argument(experiment)
    device_argument(experiment)


def _demo(options: argparse.Namespace) -> int:
    from codert.data.commands.corpus import prepare
    from codert.evaluation.results import table
    from codert.experiments.demo import Demo
    from codert.experiments.recipes import recipes_folder

    demo = Demo(
        recipes=recipes_folder(),
        manifest=options.corpus or prepare(Path("data/commands")),
        out=options.out,
        cache=options.cache,
        settings=options.settings,
        over=tuple(options.set),
        command=shlex.join(["codert", *sys.argv[1:]]),
    )
    rows, left_out = demo.run()
    print(json.dumps(rows, indent=2) if options.json else table(rows, "alone"))
    if left_out:
        first = f"{left_out[0].id}: {left_out[0].reason}"
        print(f"left out: {many(len(left_out), 'utterance')}; {first}", file=sys.stderr)
    print(f"report: {options.out / 'report.html'}", file=sys.stderr)
    return 0


def _experiment(options: argparse.Namespace) -> int:
    from codert.experiments.comparison import rows_of
    from codert.experiments.comparison_picture import picture
    from codert.experiments.comparison_table import render
    from codert.experiments.matrix import Matrix
    from codert.files import write_bytes

    until = time.monotonic() + options.seconds
    matrix = Matrix.read(options.file, options.out)
    reference = matrix.reference(options.against)
    status = 0
    if not options.table:
        outcome = matrix.run(options.cache, options.device, options.jobs, until)
        for name, why in outcome.failed.items():
            print(f"codert: {name}: {why}", file=sys.stderr)
            status = 1
        if left := matrix.missing():
            say = "; the same command goes on" if not status else ""
            print(f"{len(left)} of {len(matrix.cells)} cells are left{say}", file=sys.stderr)
            return status
    rows = rows_of(matrix, reference)
    if options.picture:
        write_bytes(options.picture, picture(rows))
    print(render(rows, options.format))
    return status

"""`codert evaluate` and `codert analyze`: recognisers on a corpus."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codert.cli.arguments import (
    Verbs,
    beam_argument,
    machine_arguments,
    many,
    speech_arguments,
    verb,
)

if TYPE_CHECKING:
    from codert.data.config import DataConfig
    from codert.data.manifest import Utterance

_FEW = 50  # utterances, of which intervals say little


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    evaluate = verb(
        verbs,
        "evaluate",
        _evaluate,
        "score recognisers on a split and compare them",
        "codert evaluate runs/demo/*/student --data data/commands/manifest.tsv --split test",
    )
    evaluate.add_argument(
        "run",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a recogniser's folder, or a run's: all its recognisers",
    )
    speech_arguments(evaluate)
    evaluate.add_argument(
        "--reference", type=Path, metavar="RUN", help="what WERR and p compare with (first RUN)"
    )
    beam_argument(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the rows as JSON")
    machine_arguments(evaluate)

    analyze = verb(
        verbs,
        "analyze",
        _analyze,
        "measure entropies, confusions and agreement in recognisers' logits",
        "codert analyze runs/demo/teacher/teacher runs/demo/*/student "
        "--data data/commands/manifest.tsv --out analysis",
    )
    analyze.add_argument(
        "run",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a recogniser's folder, or a run's; the first recogniser is what the others are held "
        "against",
    )
    speech_arguments(analyze)
    analyze.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for analysis.json and report.html"
    )
    analyze.add_argument(
        "--voice", default="en-us", help="of espeak-ng, for the phones of words (en-us)"
    )
    analyze.add_argument("--json", action="store_true", help="print an object for each RUN as JSON")
    machine_arguments(analyze)


def _evaluate(options: argparse.Namespace) -> int:
    from codert.evaluation.results import kinds_table, results, table
    from codert.evaluation.systems import System, score_system
    from codert.learning.machine import machine

    device = machine(options.device, options.threads)
    config, utterances = _speech(options)
    runs = _runs(options)

    def scored(run: Path) -> System:
        _warn_of_heard(run, utterances)
        return score_system(run, utterances, options.cache, device, options.beam, config)

    systems = [scored(run) for run in runs]
    reference = systems[0]
    if options.reference:
        known = {system.folder.resolve(): system for system in systems}
        reference = known.get(options.reference.resolve()) or scored(options.reference)
    rows = results(systems, reference)
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    card = reference.card
    print(table(rows, f"{card.strategy} {card.role}" if card.strategy else reference.folder.name))
    scores = systems[0].scores
    speakers = len({each.speaker for each in scores})
    drawn = many(speakers, "speaker") if speakers > 1 else "utterances of one speaker"
    print(f"WERR and p: compared with {reference.folder}; intervals and p: over {drawn}\n")
    print(f"{kinds_table(rows)}\n")
    if len(scores) < _FEW:
        print(f"intervals and p of {many(len(scores), 'utterance')} mean little")
    skipped = systems[0].skipped
    if skipped:
        print(
            f"{many(len(skipped), 'utterance')} could not be scored; "
            f"{skipped[0].id}: {skipped[0].reason}"
        )
    return 0


def _analyze(options: argparse.Namespace) -> int:
    from codert.analysis.analysis import analyse
    from codert.learning.machine import machine
    from codert.reports.analysis_report import as_json, as_text, write_analysis

    device = machine(options.device, options.threads)
    config, utterances = _speech(options)
    runs = _runs(options)
    for run in runs:
        _warn_of_heard(run, utterances)
    # In pictures: two utterances, from a third and from two thirds of the way.
    traced = [utterances[len(utterances) * i // 3].id for i in (1, 2)]
    systems = analyse(
        runs,
        utterances,
        options.cache,
        device,
        config=config,
        voice=options.voice,
        traced=traced,
    )
    if options.out is not None:
        write_analysis(options.out, systems, shlex.join(["codert", *sys.argv[1:]]))
    print(as_json(systems) if options.json else as_text(systems))
    if options.out is not None:
        print(f"report: {options.out / 'report.html'}", file=sys.stderr)
    return 0


def _runs(options: argparse.Namespace) -> list[Path]:
    from codert.models.folder import recognisers_in

    return [recogniser for run in options.run for recogniser in recognisers_in(run)]


def _speech(options: argparse.Namespace) -> "tuple[DataConfig, list[Utterance]]":
    """The utterances of the split, and how they are held out and put together."""
    from codert.config import assignments, unknown_key
    from codert.evaluation.systems import held_out_by, utterances_of

    over = assignments(options.set)
    for key in over:
        if key != "data":  # of a file, the other sections are for other commands
            raise unknown_key("--set", key, key, ["data"])
    held_out = held_out_by(options.settings, over)
    return held_out, utterances_of(options.data, options.split, held_out)


def _warn_of_heard(run: Path, utterances: "Sequence[Utterance]") -> None:
    """An error rate on what a recogniser was trained on says nothing of other speech."""
    from codert.learning.heard import heard_by

    heard = heard_by(run)
    if count := sum(each.id in heard for each in utterances):
        print(
            f"codert: {run} was trained on, or chosen by, {count} of these {len(utterances)} "
            "utterances; hold out what its training held out: the same --settings, or --set "
            "data.test_speakers=[...]",
            file=sys.stderr,
        )

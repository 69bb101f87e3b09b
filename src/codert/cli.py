"""The commands; each a thin layer over the room that does the work."""

import argparse
import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from codert.errors import InputError

if TYPE_CHECKING:
    from codert.data.manifest import Utterance

_DEMO_HOURS = 6.0
_FEW = 50  # utterances, of which intervals say little

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `codert ...`; the exit status is 0, 2 for bad input, 130 where it was stopped."""
    options = _parser().parse_args(arguments)
    # Before torch is imported: spinning OpenMP threads slow every other process down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command: Command = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print("codert: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except InputError as error:
        print(f"codert: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"codert: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 2


def _train(options: argparse.Namespace) -> int:
    from codert.config import assignments, check_name
    from codert.learning.machine import machine
    from codert.learning.plan import read_plan
    from codert.learning.run import train
    from codert.learning.trainer import Stopped

    plan = read_plan(options.recipe, options.settings, assignments(options.set))
    name = options.name or options.recipe.stem
    try:
        check_name(name)
    except ValueError as error:
        raise InputError(f"{error}; --name gives the run another") from None
    folder = options.out / name
    device = machine(options.device, options.threads)
    try:
        outcome = train(plan, options.data, folder, options.cache, device, options.resume)
    except Stopped:
        print(f"codert: stopped; go on with the same command and --resume ({folder})")
        return 130
    for name, path in outcome.recognisers.items():
        rate = f", development WER {outcome.best[name]:.1f}%" if outcome.best else ""
        print(f"{name}: {path}{rate}")
    if outcome.too_short_for_ctc:
        print(f"too short for CTC: {_many(outcome.too_short_for_ctc, 'utterance')}")
    if outcome.skipped:
        print(f"skipped: {_many(len(outcome.skipped), 'utterance')}, of which the first:")
        for skipped in outcome.skipped[:10]:
            print(f"  {skipped.id}: {skipped.reason}")
        print(f"  all of them: {folder / 'skipped.jsonl'}")
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from codert.config import assignments, plain
    from codert.learning.estimate import estimate
    from codert.learning.machine import machine
    from codert.learning.plan import read_plan

    plan = read_plan(options.recipe, options.settings, assignments(options.set))
    device = machine(options.device, options.threads)
    found = estimate(plan, options.data, options.cache, device, options.updates)
    print(json.dumps(plain(found), indent=2) if options.json else found)
    return 0


def _prepare_commands(options: argparse.Namespace) -> int:
    from codert.data.commands.corpus import prepare

    manifest = prepare(
        options.out,
        hours=options.hours,
        seed=options.seed,
        test_words=options.test_words,
        dev_words=options.dev_words,
    )
    print(json.dumps({"manifest": str(manifest)}) if options.json else manifest)
    return 0


def _prepare_amazon_queen(options: argparse.Namespace) -> int:
    from codert.data.amazon_queen.corpus import left_out, prepare

    manifest = prepare(options.out, options.deb)
    reasons = left_out(manifest.parent)
    if options.json:
        print(json.dumps({"manifest": str(manifest), "left_out": reasons}))
        return 0
    print(manifest)
    for reason, clips in reasons.most_common():
        print(f"{clips} clips were left out: {reason}", file=sys.stderr)
    return 0


def _prepare_librispeech(options: argparse.Namespace) -> int:
    from codert.data.librispeech import prepare

    manifests = [str(path) for path in prepare(options.out, options.parts, options.url)]
    print(json.dumps({"manifests": manifests}) if options.json else "\n".join(manifests))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from codert.evaluation.results import results, table
    from codert.evaluation.systems import System, score_system
    from codert.learning.machine import machine

    device = machine(options.device, options.threads)
    utterances, runs = _utterances(options), _runs(options)

    def scored(run: Path) -> System:
        _warn_of_heard(run, utterances)
        return score_system(run, utterances, options.cache, device, options.beam)

    systems = [scored(run) for run in runs]
    reference = scored(options.reference) if options.reference else systems[0]
    rows = results(systems, reference)
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    card = reference.card
    print(table(rows, f"{card.strategy} {card.role}" if card.strategy else reference.folder.name))
    print(f"WERR and p: compared with {reference.folder}")
    if len(utterances) < _FEW:
        print(f"intervals and p of {_many(len(utterances), 'utterance')} mean little")
    skipped = systems[0].skipped
    if skipped:
        print(
            f"{_many(len(skipped), 'utterance')} could not be scored; "
            f"{skipped[0].id}: {skipped[0].reason}"
        )
    return 0


def _runs(options: argparse.Namespace) -> list[Path]:
    from codert.models.folder import recognisers_in

    return [recogniser for run in options.run for recogniser in recognisers_in(run)]


def _utterances(options: argparse.Namespace) -> "list[Utterance]":
    from codert.config import assignments
    from codert.evaluation.systems import held_out_by, utterances_of

    held_out = held_out_by(options.settings, assignments(options.set))
    return utterances_of(options.data, options.split, held_out)


def _warn_of_heard(run: Path, utterances: "Sequence[Utterance]") -> None:
    """An error rate on what a recogniser was trained on says nothing of other speech."""
    from codert.learning.run import heard_by

    heard = heard_by(run)
    if count := sum(each.id in heard for each in utterances):
        print(
            f"codert: {run} was trained on, or chosen by, {count} of these {len(utterances)} "
            "utterances; hold out what its training held out: the same --settings, or --set "
            "data.test_speakers=[...]",
            file=sys.stderr,
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _analyze(options: argparse.Namespace) -> int:
    from codert.analysis.analysis import analyse
    from codert.experiments.analysis_report import as_json, as_text, write_analysis
    from codert.learning.machine import machine

    device = machine(options.device, options.threads)
    utterances, runs = _utterances(options), _runs(options)
    for run in runs:
        _warn_of_heard(run, utterances)
    # In pictures: two utterances, from a third and from two thirds of the way.
    traced = [utterances[len(utterances) * i // 3].id for i in (1, 2)]
    systems = analyse(runs, utterances, options.cache, device, voice=options.voice, traced=traced)
    if options.out is not None:
        write_analysis(options.out, systems, shlex.join(["codert", *sys.argv[1:]]))
    print(as_json(systems) if options.json else as_text(systems))
    if options.out is not None:
        print(f"report: {options.out / 'report.html'}", file=sys.stderr)
    return 0


def _transcribe(options: argparse.Namespace) -> int:
    from codert.decoding.transcriber import Transcriber

    transcriber = Transcriber.load(options.run)
    if not options.json:
        print(f"trained to understand: {transcriber.card.understands}", file=sys.stderr)
        if not transcriber.card.model.streams:
            print("not streaming: it hears each recording to its end first", file=sys.stderr)
    status = 0
    for audio in options.audio:
        # One bad file does not keep the others from being read.
        try:
            text = transcriber.transcribe(audio, options.beam)
        except InputError as error:
            print(f"codert: {error}", file=sys.stderr)
            status = 2
        else:
            line = {"audio": str(audio), "text": text}
            print(json.dumps(line, ensure_ascii=False) if options.json else f"{audio}\t{text}")
    return status


def _demo(options: argparse.Namespace) -> int:
    from codert.data.commands.corpus import prepare
    from codert.evaluation.results import table
    from codert.experiments.demo import Demo
    from codert.experiments.recipes import recipes_folder

    demo = Demo(
        recipes=recipes_folder(),
        manifest=options.corpus or prepare(Path("data/commands"), hours=_DEMO_HOURS),
        out=options.out,
        cache=options.cache,
        settings=options.settings,
        over=tuple(options.set),
        command=shlex.join(["codert", *sys.argv[1:]]),
    )
    rows = demo.run()
    print(json.dumps(rows, indent=2) if options.json else table(rows, "alone"))
    print(f"report: {options.out / 'report.html'}", file=sys.stderr)
    return 0


def _experiment(options: argparse.Namespace) -> int:
    from codert.experiments.comparison import rows_of
    from codert.experiments.comparison_picture import picture
    from codert.experiments.comparison_table import render
    from codert.experiments.matrix import Matrix
    from codert.models.folder import write_bytes

    until = time.monotonic() + options.seconds
    matrix = Matrix.read(options.file, options.out)
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
    rows = rows_of(matrix, options.against)
    if options.picture:
        write_bytes(options.picture, picture(rows))
    print(render(rows, options.format))
    return status


def _choose(options: argparse.Namespace) -> int:
    from codert.experiments.choice import Budget, choose
    from codert.experiments.choice_table import picture, table
    from codert.learning.machine import machine, name_of
    from codert.models.folder import write_bytes

    name = name_of(machine("cpu", threads=1))
    choice = choose(options.folder, options.split, Budget(options.max_mb, options.max_rtf))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codert",
        description="Make a big streaming speech recogniser small.",
        epilog="example: codert demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"codert {version('codert')}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    summary = "make or fetch a corpus and its manifest"
    prepare = verbs.add_parser(
        "prepare",
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="example: codert prepare commands --out data/commands",
        allow_abbrev=False,
    )
    corpora = prepare.add_subparsers(required=True, metavar="CORPUS")
    commands = _verb(
        corpora,
        "commands",
        _prepare_commands,
        "spoken commands for a voice assistant, by espeak-ng",
        "codert prepare commands --out data/commands",
    )
    commands.add_argument("--hours", type=float, default=4.0, help="of training speech (4)")
    commands.add_argument("--dev-words", type=int, default=1200, help="of the dev split (1200)")
    commands.add_argument("--test-words", type=int, default=5500, help="of the test split (5500)")
    commands.add_argument("--seed", type=int, default=0, help="another one, another corpus (0)")
    _corpus_arguments(commands)

    queen = _verb(
        corpora,
        "amazon-queen",
        _prepare_amazon_queen,
        "4.4 hours of actors, from Debian's package of a game of 1995",
        "codert prepare amazon-queen --out data/amazon-queen",
    )
    queen.add_argument(
        "--deb", type=Path, metavar="FILE", help="the package (fetched with apt-get)"
    )
    _corpus_arguments(queen)

    librispeech = _verb(
        corpora,
        "librispeech",
        _prepare_librispeech,
        "read English from openslr.org; a manifest a part",
        "codert prepare librispeech --parts dev-clean-2 train-clean-5 --out data/librispeech",
    )
    librispeech.add_argument(
        "--parts",
        required=True,
        nargs="+",
        metavar="PART",
        help="train-clean-5, dev-clean-2 (mini); train-clean-100, train-clean-360, "
        "train-other-500, dev-clean, dev-other, test-clean, test-other",
    )
    librispeech.add_argument("--url", help="of a mirror's resources (those of openslr.org)")
    _corpus_arguments(librispeech)

    train = _verb(
        verbs,
        "train",
        _train,
        "train the recognisers of a plan",
        "codert train recipes/tandem-shared.yaml --data data/commands/manifest.tsv --out runs/mine",
    )
    train.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    _data_argument(train)
    train.add_argument("--out", type=Path, required=True, help="the run goes to OUT/NAME")
    train.add_argument("--name", help="of the run (the recipe's stem)")
    _settings_arguments(train)
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    _machine_arguments(train)

    estimate = _verb(
        verbs,
        "estimate",
        _estimate,
        "how long a training would take, and how much memory, from its first updates",
        "codert estimate recipes/tandem-shared.yaml --data data/commands/manifest.tsv",
    )
    estimate.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    _data_argument(estimate)
    _settings_arguments(estimate)
    estimate.add_argument("--updates", type=_count, default=20, help="to measure (20)")
    estimate.add_argument("--json", action="store_true", help="print it as JSON")
    _machine_arguments(estimate)

    evaluate = _verb(
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
    _speech_arguments(evaluate)
    evaluate.add_argument(
        "--reference", type=Path, metavar="RUN", help="what WERR and p compare with (first RUN)"
    )
    _beam_argument(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the rows as JSON")
    _machine_arguments(evaluate)

    analyze = _verb(
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
    _speech_arguments(analyze)
    analyze.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for analysis.json and report.html"
    )
    analyze.add_argument(
        "--voice", default="en-us", help="of espeak-ng, for the phones of words (en-us)"
    )
    analyze.add_argument("--json", action="store_true", help="print an object for each RUN as JSON")
    _machine_arguments(analyze)

    transcribe = _verb(
        verbs,
        "transcribe",
        _transcribe,
        "write down what is said in audio files",
        "codert transcribe runs/demo/tandem-shared/student recording.flac",
    )
    transcribe.add_argument("run", type=Path, metavar="RUN", help="a recogniser's folder")
    transcribe.add_argument("audio", type=Path, nargs="+", metavar="FILE")
    _beam_argument(transcribe)
    transcribe.add_argument("--json", action="store_true", help="print a JSON object a line")

    demo = _verb(
        verbs,
        "demo",
        _demo,
        "train five students and their teacher, and show what each student gained",
        "codert demo    or    codert demo --corpus MANIFEST --settings recipes/settings/an4.yaml",
    )
    demo.add_argument("--corpus", type=Path, metavar="MANIFEST", help="in place of spoken commands")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="(runs/demo)")
    _settings_arguments(demo)
    demo.add_argument("--json", action="store_true", help="print the rows as JSON")
    _cache_argument(demo)

    experiment = _verb(
        verbs,
        "experiment",
        _experiment,
        "train and score what is missing of a matrix of plans, seeds, corpora and folds",
        "codert experiment recipes/experiments/an4.yaml --jobs 2 --for 9m",
    )
    experiment.add_argument("file", type=Path, metavar="FILE", help="the experiment, a YAML file")
    experiment.add_argument("--out", type=Path, help="of runs and results (runs/NAME)")
    experiment.add_argument(
        "--jobs", type=_count, default=1, help="side by side, where memory allows (1)"
    )
    experiment.add_argument(
        "--for",
        type=_duration,
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
    _cache_argument(experiment)
    experiment.add_argument("--device", help="cpu or cuda (cuda where there is one)")

    choose = _verb(
        verbs,
        "choose",
        _choose,
        "the best student within a budget, of those that experiments trained and scored",
        "codert choose runs/an4 --max-mb 5 --max-rtf 0.05",
    )
    choose.add_argument(
        "folder",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="an experiment's, with its results and runs; or any of its runs",
    )
    choose.add_argument(
        "--max-mb", type=_limit, default=math.inf, metavar="MB", help="of weights on disk"
    )
    choose.add_argument(
        "--max-rtf",
        type=_limit,
        default=math.inf,
        metavar="RTF",
        help="seconds of computing for one of audio, by one thread of this machine",
    )
    choose.add_argument("--split", default="test", help="that WER is of (test)")
    choose.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw WER against size, an SVG file"
    )
    choose.add_argument("--json", action="store_true", help="print all of it as JSON")

    export = _verb(
        verbs,
        "export",
        _export,
        "copy a recogniser with a model card that says what it is and how well it does",
        "codert export runs/an4/an4/seed0/static/student --out models/an4 --data $AN4/manifest.tsv",
    )
    export.add_argument("run", type=Path, metavar="RUN", help="a recogniser's folder")
    export.add_argument("--out", type=Path, required=True, help="the folder of the copy")
    _data_argument(export)
    export.add_argument("--json", action="store_true", help="print files and scores as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write a whole number above 0")
    return int(text)


def _limit(text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number above 0")
    return limit


def _duration(text: str) -> float:
    """Seconds of a time such as 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not text:
        raise argparse.ArgumentTypeError(f"{text!r}: write hours, minutes, seconds, as in 1h30m")
    hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def _corpus_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the manifest's path as JSON")


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        action="extend",
        nargs="+",
        metavar="MANIFEST",
        help="TSV or JSON lines: id, audio, text, speaker, split, seconds; several are joined",
    )


def _speech_arguments(parser: argparse.ArgumentParser) -> None:
    _data_argument(parser)
    parser.add_argument("--split", default="test", help="of the manifest (test)")
    parser.add_argument(
        "--settings", type=Path, help="a YAML file whose data section names held-out speakers"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="the same in words, as in data.test_speakers=[anna,ben]; may be repeated",
    )


def _settings_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings", type=Path, help="a YAML file in place of the recipe's settings"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the recipe, as in training.epochs=5; may be repeated",
    )


def _beam_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beam", type=_count, default=1, help="width of the search (1, greedy)")


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    _cache_argument(parser)
    parser.add_argument("--device", help="cpu or cuda (cuda where there is one)")
    parser.add_argument("--threads", type=_count, default=1, help="of the CPU (1)")


def _cache_argument(parser: argparse.ArgumentParser) -> None:
    cache = Path(os.environ.get("CODERT_CACHE", ".cache/features"))
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache,
        help="where features are kept (CODERT_CACHE or .cache/features)",
    )


if __name__ == "__main__":
    sys.exit(main())

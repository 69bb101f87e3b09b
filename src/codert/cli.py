"""The commands; each a thin layer over the room that does the work."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from codert.errors import InputError

_DEMO_HOURS = 2.6  # what two cores learn from in minutes

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
    from codert.config import assignments
    from codert.learning.machine import machine
    from codert.learning.plan import read_plan
    from codert.learning.run import train
    from codert.learning.trainer import Stopped

    plan = read_plan(options.recipe, options.settings, assignments(options.set))
    folder = options.out / options.recipe.stem
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
        print(f"{outcome.too_short_for_ctc} utterances were too short for CTC")
    if outcome.skipped:
        print(f"{len(outcome.skipped)} utterances were skipped; the first ten:")
        for skipped in outcome.skipped[:10]:
            print(f"  {skipped.id}: {skipped.reason}")
        print(f"  all of them: {folder / 'skipped.jsonl'}")
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


def _evaluate(options: argparse.Namespace) -> int:
    from codert.evaluation.results import results, table
    from codert.evaluation.systems import score_system, utterances_of
    from codert.learning.machine import machine

    device = machine(options.device, options.threads)
    utterances = utterances_of(options.data, options.split, options.settings)
    systems = [score_system(run, utterances, options.cache, device) for run in options.run]
    if options.reference:
        reference = score_system(options.reference, utterances, options.cache, device)
    else:
        reference = systems[0]
    rows = results(systems, reference)
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(table(rows))
    print(f"WERR and p: compared with {reference.folder}")
    skipped = systems[0].skipped
    if skipped:
        print(
            f"{len(skipped)} utterances could not be scored; {skipped[0].id}: {skipped[0].reason}"
        )
    return 0


def _transcribe(options: argparse.Namespace) -> int:
    from codert.decoding.transcriber import Transcriber

    transcriber = Transcriber.load(options.run)
    if not options.json:
        print(f"trained to understand: {transcriber.card.understands}", file=sys.stderr)
    status = 0
    for audio in options.audio:
        # One bad file does not keep the others from being read.
        try:
            text = transcriber.transcribe(audio)
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
    from codert.experiments.demo import Demo, recipes_folder

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
    print(json.dumps(rows, indent=2) if options.json else table(rows))
    print(f"report: {options.out / 'report.html'}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codert", description="Make a big streaming speech recogniser small."
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    prepare = verbs.add_parser("prepare", help="make or fetch a corpus and its manifest")
    corpora = prepare.add_subparsers(required=True, metavar="CORPUS")
    commands = _verb(
        corpora,
        "commands",
        _prepare_commands,
        "spoken commands for a voice assistant, by espeak-ng",
        "codert prepare commands --out data/commands",
    )
    commands.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    commands.add_argument("--hours", type=float, default=4.0, help="of training speech (4)")
    commands.add_argument("--dev-words", type=int, default=1200, help="of the dev split (1200)")
    commands.add_argument("--test-words", type=int, default=5500, help="of the test split (5500)")
    commands.add_argument("--seed", type=int, default=0, help="another one, another corpus (0)")
    commands.add_argument("--json", action="store_true", help="print the manifest's path as JSON")

    train = _verb(
        verbs,
        "train",
        _train,
        "train the recognisers of a plan",
        "codert train recipes/tandem-shared.yaml --data data/commands/manifest.tsv --out runs/mine",
    )
    train.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    _data_argument(train)
    train.add_argument("--out", type=Path, required=True, help="the run goes to OUT/PLAN")
    _settings_arguments(train)
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    _machine_arguments(train)

    evaluate = _verb(
        verbs,
        "evaluate",
        _evaluate,
        "score recognisers on a split and compare them",
        "codert evaluate runs/demo/*/student --data data/commands/manifest.tsv --split test",
    )
    evaluate.add_argument("run", type=Path, nargs="+", metavar="RUN", help="a recogniser's folder")
    _data_argument(evaluate)
    evaluate.add_argument("--split", default="test", help="of the manifest (test)")
    evaluate.add_argument(
        "--settings", type=Path, help="a YAML file whose data section names held-out speakers"
    )
    evaluate.add_argument(
        "--reference", type=Path, metavar="RUN", help="what WERR and p compare with (first RUN)"
    )
    evaluate.add_argument("--json", action="store_true", help="print the rows as JSON")
    _machine_arguments(evaluate)

    transcribe = _verb(
        verbs,
        "transcribe",
        _transcribe,
        "write down what is said in audio files",
        "codert transcribe runs/demo/tandem-shared/student recording.flac",
    )
    transcribe.add_argument("run", type=Path, metavar="RUN", help="a recogniser's folder")
    transcribe.add_argument("audio", type=Path, nargs="+", metavar="FILE")
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
    return parser


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
    )
    parser.set_defaults(command=command)
    return parser


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="MANIFEST",
        help="TSV or JSON lines: id, audio, text, speaker, split, seconds; several are joined",
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


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    _cache_argument(parser)
    parser.add_argument("--device", help="cpu or cuda (cuda where there is one)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (1)")


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

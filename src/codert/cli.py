"""The commands; each a thin layer over the room that does the work."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codert.errors import InputError

if TYPE_CHECKING:
    import torch

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `codert ...`; the exit status is 0, 2 for bad input, 130 where it was stopped."""
    options = _parser().parse_args(arguments)
    # Before torch is imported: spinning OpenMP threads slow every other process down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command: Command = options.command
    try:
        return command(options)
    except InputError as error:
        print(f"codert: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"codert: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 2


def _train(options: argparse.Namespace) -> int:
    from functools import reduce

    from codert.config import assignment, merged
    from codert.learning.plan import read_plan
    from codert.learning.run import train
    from codert.learning.trainer import Stopped

    over = reduce(merged, map(assignment, options.set), {})
    plan = read_plan(options.recipe, options.settings, over)
    folder = options.out / options.recipe.stem
    try:
        outcome = train(
            *(plan, options.data, folder, options.cache, _device(options)), options.resume
        )
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

    manifest = prepare(options.out, hours=options.hours, seed=options.seed)
    print(json.dumps({"manifest": str(manifest)}) if options.json else manifest)
    return 0


def _device(options: argparse.Namespace) -> "torch.device":
    import torch

    torch.set_num_threads(options.threads)
    return torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codert", description="Make a big streaming speech recogniser small."
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    prepare = verbs.add_parser("prepare", help="make or fetch a corpus and its manifest")
    corpora = prepare.add_subparsers(required=True, metavar="CORPUS")
    commands = _verb(
        *(corpora, "commands", _prepare_commands),
        "spoken commands for a voice assistant, by espeak-ng",
        "codert prepare commands --out data/commands",
    )
    commands.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    commands.add_argument("--hours", type=float, default=4.0, help="of training speech (4)")
    commands.add_argument("--seed", type=int, default=0, help="another one, another corpus (0)")
    commands.add_argument("--json", action="store_true", help="print the manifest's path as JSON")

    train = _verb(
        *(verbs, "train", _train),
        "train the recognisers of a plan",
        "codert train recipes/tandem-shared.yaml --data data/commands/manifest.tsv --out runs/mine",
    )
    train.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    _data_argument(train)
    train.add_argument("--out", type=Path, required=True, help="the run goes to OUT/PLAN")
    train.add_argument("--settings", type=Path, help="a YAML file in place of the plan's settings")
    train.add_argument(
        *("--set",),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the recipe, as in training.epochs=5; may be repeated",
    )
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    _machine_arguments(train)
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Command,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        *(name,),
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
    )
    parser.set_defaults(command=command)
    return parser


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *("--data",),
        type=Path,
        required=True,
        nargs="+",
        metavar="MANIFEST",
        help="TSV or JSON lines: id, audio, text, speaker, split, seconds; several are joined",
    )


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    cache = Path(os.environ.get("CODERT_CACHE", ".cache/features"))
    parser.add_argument(
        *("--cache",),
        type=Path,
        default=cache,
        help="where features are kept (CODERT_CACHE or .cache/features)",
    )
    parser.add_argument("--device", help="cpu or cuda (cuda where there is one)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (1)")


if __name__ == "__main__":
    sys.exit(main())

"""What the commands have in common: options, their types, and what help looks like."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Command = Callable[[argparse.Namespace], int]
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def verb(
    verbs: Verbs,
    name: str,
    command: Command,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """A command among `verbs`, whose help ends with an example."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def many(count: int, what: str) -> str:
    """As in 1 utterance, 2 utterances."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write a whole number above 0")
    return int(text)


def limit(text: str) -> float:
    """A number above 0."""
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number above 0")
    return limit


def duration(text: str) -> float:
    """Seconds of a time such as 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not text:
        raise argparse.ArgumentTypeError(f"{text!r}: write hours, minutes, seconds, as in 1h30m")
    hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a corpus goes."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the manifest's path as JSON")


def data_argument(parser: argparse.ArgumentParser) -> None:
    """The speech, by its manifests."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        action="extend",
        nargs="+",
        metavar="MANIFEST",
        help="TSV or JSON lines: id, audio, text, speaker, split, seconds; several are joined",
    )


def speech_arguments(parser: argparse.ArgumentParser) -> None:
    """The speech that is scored: a split, or what somebody holds out."""
    data_argument(parser)
    parser.add_argument("--split", default="test", help="of the manifest (test)")
    settings_arguments(
        parser,
        "a YAML file whose data section names held-out speakers",
        "the same in words, as in data.test_speakers=[anna,ben]; may be repeated",
    )


def settings_arguments(
    parser: argparse.ArgumentParser,
    file: str = "a YAML file in place of the recipe's settings",
    words: str = "lay a value over the recipe, as in training.epochs=5; may be repeated",
) -> None:
    """Settings, as a file and in words; by themselves what is laid over a recipe."""
    parser.add_argument("--settings", type=Path, help=file)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=words)


def beam_argument(parser: argparse.ArgumentParser) -> None:
    """How wide the search is."""
    parser.add_argument("--beam", type=count, default=1, help="width of the search (1, greedy)")


def machine_arguments(parser: argparse.ArgumentParser) -> None:
    """What it is run on."""
    cache_argument(parser)
    device_argument(parser)
    parser.add_argument("--threads", type=count, default=1, help="of the CPU (1)")


def device_argument(parser: argparse.ArgumentParser) -> None:
    """Processor or GPU."""
    parser.add_argument("--device", help="cpu or cuda (cuda where there is one)")


def cache_argument(parser: argparse.ArgumentParser) -> None:
    """Where features are kept."""
    cache = Path(os.environ.get("CODERT_CACHE") or ".cache/features")
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache,
        help="where features are kept (CODERT_CACHE or .cache/features)",
    )

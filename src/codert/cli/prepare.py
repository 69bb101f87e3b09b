"""`codert prepare`: corpora made or fetched."""

import argparse
import json
import sys
from pathlib import Path

from codert.cli.arguments import Verbs, corpus_arguments, count, data_argument, many, verb


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    summary = "make or fetch a corpus and its manifest"
    prepare = verbs.add_parser(
        "prepare",
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="example: codert prepare commands --out data/commands",
        allow_abbrev=False,
    )
    corpora = prepare.add_subparsers(required=True, metavar="CORPUS")
    commands = verb(
        corpora,
        "commands",
        _prepare_commands,
        "spoken commands for a voice assistant, by espeak-ng",
        "codert prepare commands --out data/commands",
    )
    commands.add_argument("--hours", type=float, default=5.0, help="of training speech (5)")
    commands.add_argument("--dev-words", type=int, default=1200, help="of the dev split (1200)")
    commands.add_argument("--test-words", type=int, default=5500, help="of the test split (5500)")
    commands.add_argument("--seed", type=int, default=0, help="another one, another corpus (0)")
    corpus_arguments(commands)

    queen = verb(
        corpora,
        "amazon-queen",
        _prepare_amazon_queen,
        "4.4 hours of actors, from Debian's package of a game of 1995",
        "codert prepare amazon-queen --out data/amazon-queen",
    )
    queen.add_argument(
        "--deb", type=Path, metavar="FILE", help="the package (fetched with apt-get)"
    )
    corpus_arguments(queen)

    librispeech = verb(
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
    corpus_arguments(librispeech)

    common = verb(
        corpora,
        "common-words",
        _prepare_common_words,
        "the utterances of other manifests that their commonest words suffice for",
        "codert prepare common-words --words 200 --data speech/manifest.tsv --out data/common",
    )
    common.add_argument("--words", type=count, required=True, help="how many of the commonest")
    data_argument(common)
    corpus_arguments(common)


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


def _prepare_common_words(options: argparse.Namespace) -> int:
    from codert.data.common_words import prepare

    manifest, kept, of = prepare(options.out, options.data, options.words)
    if options.json:
        print(json.dumps({"manifest": str(manifest), "utterances": kept, "of": of}))
        return 0
    print(manifest)
    print(f"{kept} of {many(of, 'utterance')}", file=sys.stderr)
    return 0

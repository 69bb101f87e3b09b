"""`codert train` and `codert estimate`: one plan."""

import argparse
import json
from pathlib import Path

from codert.cli.arguments import (
    Verbs,
    count,
    data_argument,
    machine_arguments,
    many,
    settings_arguments,
    verb,
)
from codert.errors import InputError


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    train = verb(
        verbs,
        "train",
        _train,
        "train the recognisers of a plan",
        "codert train recipes/tandem-shared.yaml --data data/commands/manifest.tsv --out runs/mine",
    )
    train.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    data_argument(train)
    train.add_argument("--out", type=Path, required=True, help="the run goes to OUT/NAME")
    train.add_argument("--name", help="of the run (the recipe's stem)")
    settings_arguments(train)
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    machine_arguments(train)

    estimate = verb(
        verbs,
        "estimate",
        _estimate,
        "how long a training would take, and how much memory, from its first updates",
        "codert estimate recipes/tandem-shared.yaml --data data/commands/manifest.tsv",
    )
    estimate.add_argument("recipe", type=Path, metavar="RECIPE", help="the plan, a YAML file")
    data_argument(estimate)
    settings_arguments(estimate)
    estimate.add_argument("--updates", type=count, default=20, help="to measure (20)")
    estimate.add_argument("--json", action="store_true", help="print it as JSON")
    machine_arguments(estimate)


def _train(options: argparse.Namespace) -> int:
    from codert.config import assignments, check_name
    from codert.files import LOCK, held
    from codert.learning.machine import machine
    from codert.learning.recipe import named, read_plan
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
        with named(options.recipe), held(folder / LOCK):
            outcome = train(plan, options.data, folder, options.cache, device, options.resume)
    except Stopped:
        print(f"codert: stopped; go on with the same command and --resume ({folder})")
        return 130
    for name, path in outcome.recognisers.items():
        rate = f", development WER {outcome.best[name]:.1f}%" if outcome.best else ""
        print(f"{name}: {path}{rate}")
    if not outcome.best:
        print("no utterance of split dev: no development WER; the last weights are kept")
    if outcome.too_short_for_ctc:
        print(f"too short for CTC: {many(outcome.too_short_for_ctc, 'utterance')}")
    if outcome.skipped:
        print(f"skipped: {many(len(outcome.skipped), 'utterance')}, of which the first:")
        for skipped in outcome.skipped[:10]:
            print(f"  {skipped.id}: {skipped.reason}")
        print(f"  all of them: {folder / 'skipped.jsonl'}")
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from codert.config import assignments, plain
    from codert.learning.estimate import estimate
    from codert.learning.machine import machine
    from codert.learning.recipe import named, read_plan

    plan = read_plan(options.recipe, options.settings, assignments(options.set))
    device = machine(options.device, options.threads)
    with named(options.recipe):
        found = estimate(plan, options.data, options.cache, device, options.updates)
    print(json.dumps(plain(found), indent=2) if options.json else found)
    return 0

"""Plans on parts of the test speech, or several experiments together, from the stored lines.

What docs/results.md says "by parts.py" of. From the top of a checkout:

    AN4=FOLDER python docs/results/parts.py
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from codert.data.folds import Fold, assign_fold
from codert.data.manifest import read_manifest
from codert.data.text import normalise
from codert.evaluation.significance import compare_over_seeds

FOLDS = range(5)
SEEDS = (0, 1, 2)


class Heard(NamedTuple):
    """An utterance as one recogniser was scored on it."""

    fold: int
    id: str
    speaker: str
    errors: int
    words: int


class Pair(NamedTuple):
    """Two plans of an experiment."""

    experiment: str
    reference: str
    plan: str
    corpus: str = "an4"
    recogniser: str = "student"


Part = Callable[[Heard], bool]


def main() -> None:
    """Print all of it."""
    if "AN4" not in os.environ:
        raise SystemExit("AN4 is not set; it is the folder of AN4's manifest.tsv")
    an4 = read_manifest(Path(os.environ["AN4"]) / "manifest.tsv")
    texts = {u.id: normalise(u.text) for u in an4}
    trained = {
        fold: {texts[u.id] for u in assign_fold(an4, Fold(fold, 5)) if u.split == "train"}
        for fold in FOLDS
    }
    parts: dict[str, Part] = {
        "without fold 2": lambda each: each.fold != 2,
        "fold 0": lambda each: each.fold == 0,
        "texts of the training part": lambda each: texts[each.id] in trained[each.fold],
        "other texts": lambda each: texts[each.id] not in trained[each.fold],
    }
    for name, part in parts.items():
        for reference in ("alone", "alone-long"):
            compare(name, [Pair("an4-tuned", reference, "tandem-shared")], part)
    for pair in (
        Pair("an4-no-ctc", "alone", "tandem-shared"),
        Pair("an4-no-ctc", "alone-long", "tandem-shared-long"),
        Pair("an4-no-ctc", "alone-long", "tandem-shared"),
    ):
        compare("without fold 2", [pair], parts["without fold 2"])
    late = Pair("an4-tuned", "alone-ahead-4", "tandem-shared-ahead-late")
    compare("without fold 2", [late], parts["without fold 2"])
    long = Pair("an4-tuned", "alone-ahead-long", "tandem-shared-ahead-long")
    compare("folds 0 to 3, seed 0", [long], lambda each: each.fold < 4, (0,))
    together = [
        Pair("an4-pretrained", "lattice", "tandem-shared-lattice"),
        Pair("an4-no-ctc", "static", "tandem-shared"),
        Pair("an4-tuned", "static", "tandem-shared"),
    ]
    compare("three experiments", together)
    corpora: dict[str, Part] = {
        "AN4": lambda each: each.id[0].isalpha(),
        "learners": lambda each: not each.id[0].isalpha(),
    }
    for name, part in corpora.items():
        for recogniser in ("student", "teacher"):
            taught = Pair(
                "an4-and-learners",
                "alone-no-ctc",
                "tandem-shared-no-ctc",
                "an4-and-learners",
                recogniser,
            )
            compare(name, [taught], part)


def compare(
    name: str, pairs: Sequence[Pair], part: Part = lambda each: True, seeds: Sequence[int] = SEEDS
) -> None:
    """Print what two plans come to on a part, and their comparison over pairs and seeds."""
    one, other = [], []
    for experiment, reference, plan, corpus, recogniser in pairs:
        for seed in seeds:
            one.append(list(filter(part, heard(experiment, corpus, f"{reference}/student", seed))))
            of_plan = heard(experiment, corpus, f"{plan}/{recogniser}", seed)
            other.append(list(filter(part, of_plan)))
    told = {tuple((each.id, each.words) for each in run) for run in one + other}
    if len(told) != 1:
        raise SystemExit(f"{pairs[0]}: not all were scored on the same utterances")
    words = sum(each.words for each in one[0])
    rates = [
        100 * sum(each.errors for run in runs for each in run) / len(runs) / words
        for runs in (one, other)
    ]
    a, b = ([[each.errors for each in run] for run in runs] for runs in (one, other))
    found = compare_over_seeds(a, b, [each.speaker for each in one[0]])
    named = "; ".join(
        f"{pair.experiment}, {pair.plan} {pair.recogniser} with {pair.reference}" for pair in pairs
    )
    print(
        f"{named}; {name}: {words:,} words, {rates[1]:.1f} and {rates[0]:.1f}%, "
        f"{found.werr:+.1f}% [{found.low:+.1f}, {found.high:+.1f}], p {found.p:.2g}"
    )


def heard(experiment: str, corpus: str, recogniser: str, seed: int) -> Iterator[Heard]:
    """What a plan's recogniser was tested on, in the order of the stored lines."""
    for fold in FOLDS:
        folder = Path(__file__).parent / experiment / "utterances" / corpus
        file = folder / f"fold{fold}" / f"seed{seed}" / f"{recogniser}-test.tsv"
        if not file.is_file():  # not trained yet
            continue
        with file.open(encoding="utf-8") as rows:
            for row in csv.DictReader(rows, delimiter="\t"):
                counts = int(row["errors"]), int(row["words"])
                yield Heard(fold, row["id"], row["speaker"], *counts)


if __name__ == "__main__":
    main()

"""Plans on parts of the test speech, or several experiments together, from the stored lines.

What the pages beside it say "by parts.py" of. From the top of a checkout:

    AN4=FOLDER python docs/results/parts.py
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from codert.data.folds import Fold, assign_fold
from codert.data.manifest import read_manifest
from codert.data.text import normalise
from codert.evaluation.significance import compare_over_seeds
from codert.experiments.cells import Cell
from codert.experiments.records import Records, Scored

FOLDS = range(5)
SEEDS = (0, 1, 2)


class Pair(NamedTuple):
    """Two plans of an experiment."""

    experiment: str
    reference: str
    plan: str
    corpus: str = "an4"
    recogniser: str = "student"
    with_recogniser: str = "student"


Part = Callable[[int, Scored], bool]  # of a fold and an utterance


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
        "without fold 2": lambda fold, each: fold != 2,
        "fold 0": lambda fold, each: fold == 0,
        "texts of the training part": lambda fold, each: texts[each.id] in trained[fold],
        "other texts": lambda fold, each: texts[each.id] not in trained[fold],
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
    compare("folds 0 to 3, seed 0", [long], seeds=(0,), folds=range(4))
    together = [
        Pair("an4-pretrained", "lattice", "tandem-shared-lattice"),
        Pair("an4-no-ctc", "static", "tandem-shared"),
        Pair("an4-tuned", "static", "tandem-shared"),
    ]
    compare("three experiments", together)
    together += [
        Pair("an4-pretrained", "static", "tandem-shared"),
        Pair("an4-tuned", "static-encoder-logits", "tandem-shared-encoder-logits"),
    ]
    compare("with encoder logits too", together)
    for edge in ("", "-encoder-logits"):
        finished, in_place = f"static{edge}", f"tandem-shared{edge}"
        for reference, plan, recogniser in (
            ("alone", in_place, "student"),
            ("alone", finished, "student"),
            (finished, in_place, "student"),
            ("teacher", in_place, "teacher"),
        ):
            pair = Pair("an4-tuned", reference, plan, "an4", recogniser, recogniser)
            compare("seeds 3 and 4", [pair], seeds=(3, 4))
    corpora: dict[str, Part] = {
        "AN4": lambda fold, each: each.id[0].isalpha(),
        "learners": lambda fold, each: not each.id[0].isalpha(),
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
    name: str,
    pairs: Sequence[Pair],
    part: Part = lambda fold, each: True,
    seeds: Sequence[int] = SEEDS,
    folds: Sequence[int] = FOLDS,
) -> None:
    """Print what two plans come to on a part, and their comparison over pairs and seeds."""
    one: list[list[Scored]] = []
    other: list[list[Scored]] = []
    for experiment, reference, plan, corpus, recogniser, with_recogniser in pairs:
        records = Records(Path(__file__).parent / experiment)
        for seed in seeds:
            for runs, of, who in ((one, reference, with_recogniser), (other, plan, recogniser)):
                runs.append(
                    [
                        each
                        for fold in folds
                        for each in records.scored((Cell(of, corpus, fold, seed), who, "test"))
                        if part(fold, each)
                    ]
                )
    scored_on = {tuple((each.id, each.words) for each in run) for run in one + other}
    if len(scored_on) != 1:
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


if __name__ == "__main__":
    main()

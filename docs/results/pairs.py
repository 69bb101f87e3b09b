"""The comparisons on AN4, tuned, by question, from the stored lines: the table of docs/results.md.

From the top of a checkout:

    python docs/results/pairs.py
"""

from pathlib import Path

from codert.experiments.comparison import Row, rows_of
from codert.experiments.matrix import Matrix

EXPERIMENT = Path("recipes/experiments/an4-tuned.yaml")
RESULTS = Path(__file__).parent / "an4-tuned"

# A plan, and the one that it is compared with.
PAIRS = {
    "A teacher, for equal epochs": [
        ("tandem-shared", "alone"),
        ("tandem", "alone"),
        ("static", "alone"),
        ("tandem-shared-encoder-logits", "alone"),
        ("static-encoder-logits", "alone"),
        ("implicit", "alone"),
    ],
    "In place, or finished": [
        ("tandem-shared", "static"),
        ("tandem", "static"),
        ("tandem-shared-encoder-logits", "static-encoder-logits"),
        ("tandem-shared-equal", "static"),
        ("tandem-shared", "static-encoder-logits"),
        ("tandem-shared-late", "static-late"),
        ("told-ahead-4", "static-ahead-4"),
        ("told-ahead-4", "static"),
    ],
    "An edge that begins late (seeds 3 and 4)": [
        ("tandem-shared-late", "tandem-shared"),
        ("static-late", "static"),
        ("tandem-shared-late", "alone"),
        ("static-late", "alone"),
    ],
    "What is matched, what is shared": [
        ("tandem-shared", "tandem-shared-encoder-logits"),
        ("static", "static-encoder-logits"),
        ("tandem-shared", "tandem"),
        ("tandem-shared", "implicit"),
    ],
    "More epochs alone (`alone-twice`: seed 0)": [
        ("alone-twice", "alone"),
        ("alone-long", "alone"),
        ("alone-long", "alone-twice"),
        ("tandem-shared", "alone-twice"),
        ("static", "alone-twice"),
        ("tandem-shared", "alone-long"),
    ],
    "Hearing ahead, 40 epochs": [
        ("alone-ahead", "alone"),
        ("alone-ahead-4", "alone"),
        ("tandem-shared", "alone-ahead"),
        ("tandem-shared-ahead", "alone-ahead"),
        ("tandem-shared-ahead-late", "alone-ahead-4"),
        ("static-ahead-4", "alone-ahead-4"),
        ("told-ahead-4", "alone-ahead-4"),
        ("told-ahead-4", "tandem-shared-ahead-late"),
    ],
    "Hearing ahead, equal computing": [
        ("alone-ahead-long", "alone-ahead"),
        ("alone-ahead-4-long", "alone-ahead-4"),
        ("tandem-shared", "alone-ahead-4-long"),
        ("tandem-shared-ahead", "alone-ahead-long"),
        ("tandem-shared-ahead-late", "alone-ahead-4-long"),
        ("static-ahead-4", "alone-ahead-4-long"),
        ("told-ahead-4", "alone-ahead-4-long"),
    ],
    "Hearing ahead, 120 epochs for both": [
        ("told-ahead-4-long", "alone-ahead-4-long"),
    ],
}


def main() -> None:
    """Print the table."""
    matrix = Matrix.read(EXPERIMENT, RESULTS)
    found: dict[tuple[str, str], Row] = {}
    for reference in {reference for pairs in PAIRS.values() for _, reference in pairs}:
        rows = rows_of(matrix, reference)
        found |= {(row["plan"], reference): row for row in rows if row["role"] == "student"}
    print("| plan | with | WER of both | fewer errors % [95% CI] | p | by seed | cost |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for question, pairs in PAIRS.items():
        print(f"| **{question}** | | | | | | |")
        for plan, reference in pairs:
            row, other = found[plan, reference], found[reference, reference]
            seeds = set(row["seeds"]) & set(other["seeds"])
            interval, by_seed = row["werr_ci"], row["werr_by_seed"]
            if interval is None or by_seed is None:
                raise SystemExit(f"{plan} and {reference} have no seed in common")
            low, high = interval
            print(
                f"| {plan} | {reference} | {_mean(row, seeds):.1f}, {_mean(other, seeds):.1f} "
                f"| {row['werr']:+.1f} [{low:+.1f}, {high:+.1f}] | {row['p']:.2g} "
                f"| {', '.join(f'{each:+.1f}' for each in by_seed)} "
                f"| {row['cost']:.2f} |"
            )


def _mean(row: Row, seeds: set[int]) -> float:
    """The WER of a plan over some of its seeds."""
    rates: list[float] = [
        rate for seed, rate in zip(row["seeds"], row["wer_by_seed"], strict=True) if seed in seeds
    ]
    return sum(rates) / len(rates)


if __name__ == "__main__":
    main()

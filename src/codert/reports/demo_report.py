"""What the demo's report shows beside the table: plans, curves, the analysis, transcripts."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from codert.analysis.analysis import Analysed, analyse
from codert.config import yaml_of
from codert.data.config import DataConfig
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.evaluation.results import Result
from codert.evaluation.systems import System
from codert.learning.curves import curves_of
from codert.learning.machine import machine
from codert.learning.plan_places import placeless, with_places
from codert.learning.run_folder import plan_of
from codert.reports.report import Example, Lesson, Portion, Report

_SHOWN = 6  # transcripts
_ANALYSED = 32  # utterances
_TRACED = 2  # of these in pictures
_DETAILED = "tandem-shared"
_TEACHER = "teacher"
_CO_LEARNED = ("tandem", "implicit", "tandem-shared")


def report_of(
    rows: Sequence[Result],
    systems: Mapping[str, System],
    corpus: Mapping[str, Sequence[Utterance]],
    *,
    runs: Path,
    cache: Path,
    config: DataConfig,
    command: str,
    left_out: Sequence[Skipped],
) -> Report:
    """The report of a finished comparison.

    Args:
        rows: of the table, in the order of `systems`.
        systems: scored, by plan.
        corpus: utterances by split; systems were scored on `test`.
        runs: folder of the runs.
        cache: where features are kept.
        config: how utterances are put together.
        command: that makes the report again.
        left_out: utterances that could not be used.
    """
    test = corpus["test"]
    # In the order of the table, whose colours they have.
    curves = {name: lines for name in systems if (lines := curves_of(runs / name))}
    scores = {name: {s.id: s for s in system.scores} for name, system in systems.items()}
    plans = {name: trained for name in systems if (trained := plan_of(runs / name))}
    return Report(
        title="What a small recogniser gained by learning together with a big one",
        understands=f"Trained to understand {systems[_DETAILED].card.understands}.",
        corpus=_tested(corpus),
        command=command,
        lessons=[Lesson.of(name, placeless(trained)) for name, trained in plans.items()],
        portions=[Portion.of(split, utterances) for split, utterances in corpus.items()],
        results=rows,
        curves=curves,
        analyses=_analyses(systems, test, cache, config),
        detailed=[_DETAILED],
        examples=[
            Example(
                u.id,
                scores[_DETAILED][u.id].reference,
                {name: by_id[u.id].hypothesis for name, by_id in scores.items()},
            )
            for u in _some(test, _SHOWN)
            if u.id in scores[_DETAILED]
        ],
        core_seconds={
            name: max((line.get("core_seconds", 0.0) for line in lines), default=0.0)
            for name, lines in curves.items()
        },
        recipes={name: yaml_of(with_places(p, from_here)) for name, p in plans.items()},
        left_out=left_out,
        aims=aims(dict(zip(systems, rows, strict=True))),
    )


def aims(rows: Mapping[str, Result]) -> list[str]:
    """What codert's comparison aims for, and what came out; of the rows of its table, by plan."""
    alone, teacher = rows["alone"], rows["teacher"]
    name = min(_CO_LEARNED, key=lambda name: rows[name]["wer"])
    best = rows[name]
    found = [f"The student alone makes {alone['wer']:.1f} % errors (aim: 8 to 45 %)."]
    if alone["wer"]:
        share = teacher["wer"] / alone["wer"]
        found.append(f"The teacher makes {share:.2f} of its errors (aim: 0.5 at most).")
    if best["werr"] is not None:
        found.append(
            f"The best co-learned student, {name}, makes {best['werr']:.1f} % fewer, "
            f"p {best['p']:.2g} (aim: 15 % at least, p below 0.01)."
        )
    return found


def _tested(corpus: Mapping[str, Sequence[Utterance]]) -> str:
    """On whom was tested, and whether these were trained on."""
    test = {u.speaker for u in corpus["test"]}
    heard = test & {u.speaker for u in corpus["train"]}
    known = f"{len(heard)} of whom are in the training split too" if heard else ""
    unheard = "none of whom is in the training split"
    return f"{len(corpus['test'])} test utterances of {len(test)} speakers, {known or unheard}."


def from_here(folder: str) -> str:
    """A folder as it is named from where the command is typed."""
    here = os.path.relpath(folder)
    return folder if here.startswith("..") else here


def _analyses(
    systems: Mapping[str, System], test: Sequence[Utterance], cache: Path, config: DataConfig
) -> dict[str, Analysed]:
    """Over some test utterances; the teacher first, whom students are held against."""
    names = sorted(systems, key=lambda name: name != _TEACHER)
    utterances = _some(test, _ANALYSED)
    traced = [u.id for u in _some(utterances, _TRACED)]
    folders = [systems[name].folder for name in names]
    device = machine("cpu", threads=1)
    analysed = analyse(folders, utterances, cache, device, config=config, traced=traced)
    return dict(zip(names, analysed, strict=True))


def _some(utterances: Sequence[Utterance], many: int) -> Sequence[Utterance]:
    """So many of them, evenly spaced."""
    if len(utterances) <= many:
        return utterances
    return [utterances[i * len(utterances) // many] for i in range(many)]

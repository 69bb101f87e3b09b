"""What the demo's report shows beside the table: plans, curves, the analysis, transcripts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from codert.analysis.analysis import Analysed, analyse
from codert.config import yaml_of
from codert.data.manifest import Utterance
from codert.evaluation.results import Result
from codert.evaluation.systems import System
from codert.experiments.report import Example, Lesson, Portion, Report, read_curves
from codert.learning.machine import machine
from codert.learning.run import placeless, plan_of

_SHOWN = 6  # transcripts
_ANALYSED = 32  # utterances
_TRACED = 2  # of these in pictures
_DETAILED = "tandem-shared"
_TEACHER = "teacher"


def report_of(
    rows: Sequence[Result],
    systems: Mapping[str, System],
    corpus: Mapping[str, Sequence[Utterance]],
    *,
    runs: Path,
    cache: Path,
    command: str,
) -> Report:
    """The report of a finished comparison.

    Args:
        rows: of the table.
        systems: scored, by plan.
        corpus: utterances by split; systems were scored on `test`.
        runs: folder of the runs.
        cache: where features are kept.
        command: that makes the report again.
    """
    test = corpus["test"]
    curves = read_curves(runs)
    scores = {name: {s.id: s for s in system.scores} for name, system in systems.items()}
    plans = {name: placeless(trained) for name in systems if (trained := plan_of(runs / name))}
    return Report(
        title="What a small recogniser gained by learning together with a big one",
        understands=f"Trained to understand {systems[_DETAILED].card.understands}.",
        corpus=f"{len(test)} test utterances of {len({u.speaker for u in test})} speakers that no "
        "system has heard in training.",
        command=command,
        lessons=[Lesson.of(name, trained) for name, trained in plans.items()],
        portions=[Portion.of(split, utterances) for split, utterances in corpus.items()],
        results=rows,
        curves=curves,
        analyses=_analyses(systems, test, cache),
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
        recipes={name: yaml_of(trained) for name, trained in plans.items()},
    )


def _analyses(
    systems: Mapping[str, System], test: Sequence[Utterance], cache: Path
) -> dict[str, Analysed]:
    """Over some test utterances; the teacher first, whom students are held against."""
    names = sorted(systems, key=lambda name: name != _TEACHER)
    utterances = _some(test, _ANALYSED)
    traced = [u.id for u in _some(utterances, _TRACED)]
    folders = [systems[name].folder for name in names]
    device = machine("cpu", threads=1)
    return dict(zip(names, analyse(folders, utterances, cache, device, traced=traced), strict=True))


def _some(utterances: Sequence[Utterance], many: int) -> Sequence[Utterance]:
    """So many of them, evenly spaced."""
    if len(utterances) <= many:
        return utterances
    return [utterances[i * len(utterances) // many] for i in range(many)]

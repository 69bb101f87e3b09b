"""What the demo's report shows beside the table: curves, entropies, transcripts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from codert.config import plain
from codert.data.dataset import Batch, DataConfig, Dataset
from codert.data.manifest import Utterance
from codert.decoding.transcriber import Transcriber
from codert.evaluation.entropy import EntropySummary, Inputs, entropies, summarise
from codert.evaluation.results import Result
from codert.evaluation.systems import System
from codert.experiments.report import Example, Report, Trace, read_curves
from codert.learning.plan import Plan

_SHOWN = 6  # utterances
_TRACED = "tandem-shared"


def report_of(
    plan: Plan,
    rows: Sequence[Result],
    systems: Mapping[str, System],
    test: Sequence[Utterance],
    *,
    runs: Path,
    cache: Path,
    command: str,
) -> Report:
    """The report of a finished comparison.

    Args:
        plan: of the student alone, for the settings that all have in common.
        rows: of the table.
        systems: scored, by plan.
        test: utterances that they were scored on.
        runs: folder of the runs.
        cache: where features are kept.
        command: that makes the report again.
    """
    shown = [test[i * len(test) // _SHOWN] for i in range(_SHOWN)] if len(test) > _SHOWN else test
    curves = read_curves(runs)
    scores = {name: {s.id: s for s in system.scores} for name, system in systems.items()}
    probes = {name: _probe(system.folder, shown, cache) for name, system in systems.items()}
    return Report(
        title="What a small recogniser gained by learning together with a big one",
        understands=f"Trained to understand {plan.understands}.",
        corpus=f"{len(test)} test utterances of {len({u.speaker for u in test})} speakers that no "
        "system has heard in training.",
        command=command,
        settings={"models": plain(plan.models), "training": plain(plan.training)},
        results=rows,
        curves=curves,
        entropy={name: summary for name, (summary, _) in probes.items()},
        traced=f"{_TRACED}, as trained",
        traces=probes[_TRACED][1],
        examples=[
            Example(
                u.id,
                scores[_TRACED][u.id].reference,
                {name: by_id[u.id].hypothesis for name, by_id in scores.items()},
            )
            for u in shown
            if u.id in scores[_TRACED]
        ],
        core_seconds={
            name: max((line.get("core_seconds", 0.0) for line in lines), default=0.0)
            for name, lines in curves.items()
        },
    )


def _probe(
    folder: Path, utterances: Sequence[Utterance], cache: Path
) -> tuple[EntropySummary, list[Trace]]:
    """The entropies of a recogniser over a few utterances, together and one by one."""
    transcriber = Transcriber.load(folder)
    features = transcriber.features
    dataset = Dataset(
        utterances, transcriber.wordpieces, features, DataConfig(), cache, training=False
    )
    batches = list(dataset.batches(0))
    frame = features.shift_ms / 1000 * transcriber.card.model.encoder.subsampling
    traces = [
        Trace(name, dataset.texts[name], each, frame)
        for batch in batches
        for name, each in zip(
            batch.ids, entropies(transcriber.recogniser, *_inputs(batch)), strict=True
        )
    ]
    return summarise(transcriber.recogniser, [_inputs(batch) for batch in batches]), traces


def _inputs(batch: Batch) -> Inputs:
    return batch.features, batch.frame_lengths, batch.labels, batch.label_lengths

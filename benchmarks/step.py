"""A training step of a tandem against one of its teacher and one of its student alone.

    python benchmarks/step.py --json -

Each plan trains for an epoch on the same made-up corpus of noise, as `codert train` would, with the
spoken commands' settings. `loader_ratio` is how much faster batches are made than trained on.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from codert.data.dataset import Dataset
from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.learning.ensemble import Ensemble
from codert.learning.machine import machine
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.trainer import Trainer
from measure import Case, Options, Row, main, rounded, say

RECIPES = Path(__file__).parents[1] / "recipes"
PLANS = ("alone", "teacher", "tandem", "tandem-shared", "implicit")
RATE = 16000
_TURNS = 3


def one(case: Case) -> Row:
    """Seconds per batch of each plan and of the loader; the plans take turns."""
    device = machine(case["device"], int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        utterances = _corpus(folder, case["utterances"])
        plans = {plan: read_plan(RECIPES / f"{plan}.yaml") for plan in case["plans"]}
        texts = (normalise(u.text) for u in utterances)
        pieces = WordPieces.train(texts, plans["alone"].wordpieces)
        seconds: dict[str, float] = {}
        for turn in range(_TURNS):
            for plan in plans.values():
                trainer = _trainer(plan, utterances, pieces, folder, turn, device)
                start = time.perf_counter()
                trainer.run()
                taken = (time.perf_counter() - start) / trainer.position.updates
                # The first turn compiles, and fills the cache of features.
                if turn:
                    seconds[plan.strategy] = min(taken, seconds.get(plan.strategy, np.inf))
        start, batches = time.perf_counter(), 0
        for batches, _ in enumerate(trainer.training.batches(1), 1):  # noqa: B007
            pass
        seconds["loader"] = (time.perf_counter() - start) / batches
    return seconds


def collect(options: Options, measure: Callable[[Case], Row]) -> list[Row]:
    """A row per plan."""
    plans = PLANS[:3] if options.short else PLANS
    seconds = measure({"plans": plans, "utterances": 60 if options.short else 240})
    apart = seconds["alone"] + seconds["teacher"]
    rows = []
    for plan in plans:
        row = {
            "plan": plan,
            "seconds_per_batch": rounded(seconds[plan]),
            "ratio_time": rounded(seconds[plan] / apart),
            "loader_ratio": rounded(seconds[plan] / seconds["loader"]),
        }
        say(row)
        rows.append(row)
    return rows


def _corpus(folder: Path, size: int) -> list[Utterance]:
    """Noise of 2 to 5 seconds, with ten letters or so for each second."""
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(size):
        seconds = rng.uniform(2, 5)
        audio = folder / f"{i}.wav"
        soundfile.write(audio, 0.1 * rng.standard_normal(int(seconds * RATE)), RATE)
        letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz   "), int(10 * seconds))
        text = " ".join("".join(letters).split()) or "a"
        utterances.append(Utterance(f"u{i}", audio, text, "s", "train", seconds))
    return utterances


def _trainer(
    plan: Plan,
    utterances: list[Utterance],
    pieces: WordPieces,
    folder: Path,
    turn: int,
    device: torch.device,
) -> Trainer:
    plan = replace(plan, training=replace(plan.training, epochs=1, seed=turn))
    dataset = Dataset(
        utterances, pieces, plan.features, plan.data, folder / "cache", training=True, seed=turn
    )
    ensemble = Ensemble.build(plan, plan.features.mels, len(pieces))
    for recogniser in ensemble.live.values():
        recogniser.front_end.normalise_by(*dataset.mean_and_deviation())
    ensemble.to(device)
    run = folder / f"{plan.strategy}{turn}"
    run.mkdir()
    return Trainer(plan, ensemble, dataset, None, pieces, run, lambda name, updates: None, device)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], __file__, one, collect)

"""The trainer: runs any plan, one update after another, and can be stopped at any of them."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from codert.data.dataset import Batch, Dataset
from codert.data.wordpieces import WordPieces
from codert.errors import InputError
from codert.evaluation.recognition import recognise
from codert.evaluation.scoring import wer
from codert.learning.checkpoint import Position, load_checkpoint, save_checkpoint
from codert.learning.ensemble import Ensemble
from codert.learning.objective import Objective, objective
from codert.learning.plan import Plan
from codert.models.recogniser import Recogniser

CHECKPOINT, CURVES = "checkpoint.safetensors", "curves.jsonl"


class Stopped(Exception):  # noqa: N818 (not an error: somebody asked)
    """The run was asked to stop and has written its checkpoint."""


class Trainer:
    """Trains the recognisers of a plan.

    Args:
        plan: the graph and its settings.
        ensemble: its recognisers, on `device`.
        training: the training split.
        development: the split that chooses the best weights; None where there is none.
        wordpieces: that both were made with.
        folder: of the run; receives the checkpoint, the curves and TensorBoard's events.
        save_best: called with a recogniser's name and the updates so far, whenever it is the
            best so far on the development split.
        device: where the recognisers are.
    """

    def __init__(
        self,
        plan: Plan,
        ensemble: Ensemble,
        training: Dataset,
        development: Dataset | None,
        wordpieces: WordPieces,
        folder: Path,
        save_best: Callable[[str, int], None],
        device: torch.device,
    ) -> None:
        self.plan, self.ensemble = plan, ensemble
        self.training, self.development, self.wordpieces = training, development, wordpieces
        self.folder, self.save_best, self.device = folder, save_best, device
        self.position = Position()
        config = plan.training
        self.optimisers: dict[str, Optimizer] = {
            owner: AdamW(
                modules.parameters(),
                lr=config.rate.peak,
                betas=(config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
                fused=True,
            )
            for owner, modules in ensemble.groups.items()
        }

    def resume(self) -> None:
        """Go on from the folder's checkpoint; raises InputError where there is none."""
        self.position = load_checkpoint(
            self.folder / CHECKPOINT, self.ensemble, self.optimisers
        )
        # Lines written after the checkpoint will be written again.
        curves = self.folder / CURVES
        if curves.exists():
            lines = curves.read_text(encoding="utf-8").splitlines()
            kept = [x for x in lines if json.loads(x)["update"] <= self.position.updates]
            curves.write_text("".join(f"{x}\n" for x in kept), encoding="utf-8")

    def run(self) -> None:
        """Train to the end.

        Raises:
            InputError: a loss or gradient that is not finite, naming the utterances.
            Stopped: SIGINT or SIGTERM came; the checkpoint is written.
        """
        from torch.utils.tensorboard import SummaryWriter

        epochs, position = self.plan.training.epochs, self.position
        total = sum(self.training.batches_in(epoch) for epoch in range(epochs))
        done = sum(self.training.batches_in(e) for e in range(position.epoch)) + position.batch
        clock, saved = time.monotonic() - position.seconds, time.monotonic()
        with (
            SummaryWriter(str(self.folder)) as board,
            (self.folder / CURVES).open("a", encoding="utf-8") as curves,
            tqdm(total=total, initial=done, unit="batch", desc=self.folder.name) as bar,
            _signals() as asked,
        ):

            def record(line: dict[str, Any]) -> None:
                curves.write(json.dumps(line) + "\n")
                curves.flush()
                for key, value in line.items():
                    if "/" in key:
                        board.add_scalar(key, value, position.updates)

            while position.epoch < epochs:
                batches = self.training.batches_in(position.epoch)
                sums: Counter[str] = Counter()
                self.ensemble.train()
                for group in _grouped(
                    self.training.batches(position.epoch, position.batch),
                    self.plan.training.accumulate,
                ):
                    progress = (position.epoch + position.batch / max(1, batches)) / epochs
                    terms = self._update(group, progress)
                    position.batch += len(group)
                    position.updates += 1
                    position.seconds = time.monotonic() - clock
                    bar.update(len(group))
                    if position.updates % 10 == 0:
                        line = {name: round(float(value), 5) for name, value in terms.items()}
                        record(self._where(progress) | line)
                        student = next(iter(reversed(self.ensemble.live)))
                        bar.set_postfix(loss=f"{line[f'transducer/{student}']:.2f}")
                    if asked or time.monotonic() - saved > self.plan.training.checkpoint_every:
                        self.save()
                        saved = time.monotonic()
                    if asked:
                        raise Stopped
                position.epoch, position.batch = position.epoch + 1, 0
                last = position.epoch == epochs
                if last or position.epoch % self.plan.training.evaluate_every == 0:
                    record(self._where(position.epoch / epochs) | self._evaluate())
                position.seconds = time.monotonic() - clock
                self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.ensemble, self.optimisers, self.position)

    def _where(self, progress: float) -> dict[str, float]:
        return {
            "update": self.position.updates,
            "epoch": round(progress * self.plan.training.epochs, 3),
            "seconds": round(self.position.seconds, 1),
            "rate": self.plan.training.rate.at(progress),
        }

    def _update(self, group: list[Batch], progress: float) -> dict[str, torch.Tensor]:
        """One step of every optimiser; the terms of the last batch."""
        position, config = self.position, self.plan.training
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        for offset, batch in enumerate(group):
            batch = batch.to(self.device)
            step = (position.epoch, position.batch + offset)
            result = objective(self.plan, self.ensemble, batch, progress, step)
            if not bool(torch.isfinite(result.total)):
                raise _not_finite(batch, result)
            torch.autograd.backward(result.total / len(group))
            known = set(position.too_short_for_ctc)
            position.too_short_for_ctc += sorted(result.too_short_for_ctc - known)
        norms = {}
        for owner, modules in self.ensemble.groups.items():
            norm = torch.nn.utils.clip_grad_norm_(modules.parameters(), config.clip)
            if not bool(torch.isfinite(norm)):
                raise InputError(
                    f"the gradient of {owner} is not finite in the batch of "
                    f"{', '.join(i for b in group for i in b.ids)}; lower training.rate.peak, "
                    "or look at these utterances"
                )
            norms[f"gradient/{owner}"] = norm
        for optimiser in self.optimisers.values():
            for parameters in optimiser.param_groups:
                parameters["lr"] = config.rate.at(progress)
            optimiser.step()
        return result.terms | norms

    def _evaluate(self) -> dict[str, float]:
        """Development WER of every recogniser that learns; keeps the best weights."""
        line: dict[str, float] = {}
        self.ensemble.train(False)
        for name, recogniser in self.ensemble.live.items():
            rate = self._development_wer(recogniser)
            if rate is not None:
                line[f"wer/{name}"], line[f"ctc_wer/{name}"] = rate
            now = line.get(f"wer/{name}", 0.0)
            if self.development is None or now <= self.position.best.get(name, torch.inf):
                self.position.best[name] = now
                self.save_best(name, self.position.updates)
        return line

    def _development_wer(self, recogniser: Recogniser) -> tuple[float, float] | None:
        if self.development is None:
            return None
        found = recognise(recogniser, self.development, self.wordpieces, self.device)
        return round(wer(found.transducer), 3), round(wer(found.ctc), 3)


def _grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _not_finite(batch: Batch, result: Objective) -> InputError:
    guilty = [
        utterance
        for i, utterance in enumerate(batch.ids)
        if not all(torch.isfinite(losses[i]) for losses in result.losses.values())
    ]
    return InputError(
        f"the loss is not finite for {', '.join(guilty or batch.ids)}; "
        "look at their audio and text, or lower training.rate.peak"
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that receives SIGINT and SIGTERM while inside, so that an update can finish."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    # Signals reach only the main thread; elsewhere a run cannot be asked to stop.
    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The trainer: runs any plan, one update after another, and can be stopped at any of them."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType

import torch
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from codert.data.batches import Batch
from codert.data.dataset import Dataset
from codert.data.wordpieces import WordPieces
from codert.errors import InputError
from codert.evaluation.recognition import recognise
from codert.evaluation.scoring import wer
from codert.files import write_text
from codert.learning.checkpoint import Position, load_checkpoint, save_checkpoint
from codert.learning.curves import curves_of
from codert.learning.ensemble import Ensemble
from codert.learning.objective import Objective, objective
from codert.learning.plan import Plan
from codert.learning.run_folder import CHECKPOINT, CURVES

_RECORD_EVERY = 10  # updates


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
            best so far on the development split; after every look where there is none.
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
        looked_at = development.digest if development else ""
        self.position = Position(corpus=training.digest + looked_at)
        config = plan.training
        learning = {
            owner: [p for p in modules.parameters() if p.requires_grad]
            for owner, modules in ensemble.groups.items()
        }
        self.optimisers: dict[str, Optimizer] = {
            owner: AdamW(
                parameters,
                lr=config.rate.peak,
                betas=(config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
                fused=True,
            )
            for owner, parameters in learning.items()
            if parameters
        }
        self._sizes = [training.batches_in(epoch) for epoch in range(config.epochs)]

    def resume(self) -> None:
        """Go on from the folder's checkpoint; raises InputError where there is none."""
        self.position = load_checkpoint(
            self.folder / CHECKPOINT, self.ensemble, self.optimisers, self.position.corpus
        )
        self.training.skip(self.position.skipped)
        # Lines written after the checkpoint will be written again.
        kept = [values for values in curves_of(self.folder) if self._is_kept(values)]
        write_text(self.folder / CURVES, "".join(f"{json.dumps(values)}\n" for values in kept))

    def _is_kept(self, values: Mapping[str, float]) -> bool:
        """Whether a line of the curves was written before the checkpoint."""
        # Within an epoch the look at its end is still to come, at the same update perhaps.
        still_to_come = self.position.batch > 0 and "loss" not in values
        return bool(values["update"] <= self.position.updates - still_to_come)

    def run(self) -> None:
        """Train to the end.

        Raises:
            InputError: a loss or gradient that is not finite, naming the utterances.
            Stopped: SIGINT or SIGTERM came; the checkpoint is written.
        """
        from torch.utils.tensorboard import SummaryWriter

        position, config = self.position, self.plan.training
        clock, saved = time.process_time() - position.core_seconds, time.monotonic()
        with (
            SummaryWriter(str(self.folder), purge_step=position.updates + 1) as board,
            (self.folder / CURVES).open("a", encoding="utf-8") as curves,
            tqdm(total=sum(self._sizes), unit="batch", desc=self.folder.name) as bar,
            _signals() as asked,
        ):
            bar.update(self._batches_done())
            shown: dict[str, str] = {}

            def record(values: Mapping[str, float]) -> None:
                curves.write(json.dumps(self._where() | dict(values)) + "\n")
                curves.flush()
                for name, value in values.items():
                    board.add_scalar(name, value, position.updates)

            while position.epoch < config.epochs:
                self.ensemble.train()
                for group in self._groups():
                    values = self._update(group)
                    position.batch, position.updates = group[-1].index + 1, position.updates + 1
                    self.ensemble.follow(position.updates)
                    position.core_seconds = time.process_time() - clock
                    bar.update(self._batches_done() - bar.n)
                    if position.updates % _RECORD_EVERY == 0:
                        rounded = {name: round(float(v), 5) for name, v in values.items()}
                        record(rounded)
                        shown["loss"] = f"{rounded['loss']:.2f}"
                        bar.set_postfix(shown)
                    if asked or time.monotonic() - saved > config.checkpoint_every:
                        self.save()
                        saved = time.monotonic()
                    if asked:
                        raise Stopped
                position.epoch, position.batch = position.epoch + 1, 0
                if position.epoch == config.epochs or position.epoch % config.evaluate_every == 0:
                    rates = self._evaluate()
                    position.core_seconds = time.process_time() - clock
                    record(rates)
                    shown |= {f"dev {k}": f"{v:.1f}%" for k, v in rates.items() if k[:3] == "wer"}
                self.save()

    @property
    def updates(self) -> int:
        """Of the whole run."""
        return sum(-(-size // self.plan.training.accumulate) for size in self._sizes)

    def timed_updates(self, most: int) -> list[float]:
        """Make the first updates of an epoch, at most so many, and write nothing.

        Returns:
            The seconds of each, without those in which its batches were made.
        """
        self.ensemble.train()
        seconds = []
        # All made before: a batch that is made meanwhile takes time where no core is idle.
        for group in list(islice(self._groups(), most)):
            began = time.perf_counter()
            self._update(group)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - began)
            self.position.batch = group[-1].index + 1
        return seconds

    def save(self) -> None:
        """Write the checkpoint."""
        self.position.skipped = {each.id: each.reason for each in self.training.skipped}
        save_checkpoint(self.folder / CHECKPOINT, self.ensemble, self.optimisers, self.position)

    def _batches_done(self) -> int:
        return sum(self._sizes[: self.position.epoch]) + self.position.batch

    @property
    def _progress(self) -> float:
        """From 0 to 1."""
        return self._batches_done() / sum(self._sizes)

    def _where(self) -> dict[str, float]:
        return {
            "update": self.position.updates,
            "progress": round(self._progress, 5),
            "epoch": round(self._progress * self.plan.training.epochs, 3),
            "core_seconds": round(self.position.core_seconds, 1),
        }

    def _groups(self) -> Iterator[list[Batch]]:
        """What is left of the epoch, in the batches that make one update together."""
        group: list[Batch] = []
        for batch in self.training.batches(self.position.epoch, self.position.batch):
            group.append(batch)
            if len(group) == self.plan.training.accumulate:
                yield group
                group = []
        if group:
            yield group

    def _update(self, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        """One step of every optimiser; what the last batch cost."""
        position, config = self.position, self.plan.training
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        for batch in group:
            step = position.epoch, batch.index
            result = objective(
                self.plan, self.ensemble, batch.to(self.device), self._progress, step
            )
            if not bool(torch.isfinite(result.total)):
                raise _not_finite(batch, result)
            if result.total.requires_grad:  # not without a transcript and before an edge's start
                torch.autograd.backward(result.total / len(group))
            too_short = result.too_short_for_ctc.difference(position.too_short_for_ctc)
            position.too_short_for_ctc += sorted(too_short)
        norms = {}
        for owner in self.optimisers:
            parameters = self.ensemble.groups[owner].parameters()
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
            if not bool(torch.isfinite(norm)):
                raise InputError(
                    f"the gradient of {owner} is not finite in the batch of "
                    f"{', '.join(i for batch in group for i in batch.ids)}; "
                    "lower training.rate.peak, or look at these utterances"
                )
            norms[f"gradient/{owner}"] = norm
        rate = config.rate.at(self._progress)
        for owner, optimiser in self.optimisers.items():
            member = self.plan.recognisers.get(owner)  # none where the weights are shared
            for options in optimiser.param_groups:
                options["lr"] = rate * member.rate if member else rate
            optimiser.step()
        return {"loss": result.total.detach(), **result.terms, **norms, "rate": rate}

    def _evaluate(self) -> dict[str, float]:
        """Development WER of every recogniser that the run makes; keeps the best weights."""
        rates: dict[str, float] = {}
        self.ensemble.train(False)
        for name, recogniser in self.ensemble.made.items():
            now = 0.0  # without a development split the newest weights are the best
            if self.development is not None:
                found = recognise(recogniser, self.development, self.wordpieces, self.device)
                now = rates[f"wer/{name}"] = round(wer(found.transducer), 3)
                rates[f"ctc_wer/{name}"] = round(wer(found.ctc), 3)
            if now <= self.position.best.get(name, torch.inf):
                self.position.best[name] = now
                self.save_best(name, self.position.updates)
        return rates


def _not_finite(batch: Batch, result: Objective) -> InputError:
    # Features that are not finite spoil their batch mates' losses through batch norm, so they
    # are looked for first.
    features = {i for i, x in zip(batch.ids, batch.features, strict=True) if not x.isfinite().all()}
    losses = {
        name
        for each in result.losses.values()
        for name, loss in zip(batch.ids, each.tolist(), strict=True)
        if not math.isfinite(loss)
    }
    if not features | losses:  # then it is not what was heard
        terms = [term for term, value in result.terms.items() if not math.isfinite(float(value))]
        return InputError(
            f"{' and '.join(terms)} is not finite, with transducer losses that are, in the batch "
            f"of {', '.join(batch.ids)}; lower that edge's weight, or training.rate.peak"
        )
    return InputError(
        f"the loss is not finite for {', '.join(sorted(features or losses))}; "
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

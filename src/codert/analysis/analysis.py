"""Everything that is measured of recognisers on the same utterances."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from codert.analysis.agreement import Agreement, AgreementMeter, Emissions
from codert.analysis.confusions import Confused, Confusions
from codert.analysis.distribution import Numbers
from codert.analysis.entropy import Entropies, EntropyMeter, EntropySummary
from codert.analysis.pronunciation import Phones, pronunciations
from codert.analysis.reading import Reading, mean_decoder_logits, read
from codert.analysis.similarity import Similarity, similarity
from codert.data.batches import Batch
from codert.data.config import DataConfig
from codert.data.dataset import Dataset
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.decoding.transcriber import Transcriber
from codert.errors import InputError

# A likeness this improbable by chance is said to be one.
_LEVEL = 0.05


@dataclass(frozen=True)
class Gauge:
    """What depends on the gauge.

    Attributes:
        entropy: of encoder, decoder and joint logits.
        confusions: of the encoder logits where labels are emitted, the commonest label first.
        similarity: whether rivals are pronounced alike; null where that is not known.
    """

    entropy: EntropySummary
    confusions: tuple[Confused, ...]
    similarity: Similarity | None


@dataclass(frozen=True)
class Claim:
    """What the paper's abstract says, measured.

    Attributes:
        claim: in words.
        gauge: as_trained or centred.
        held: whether it held; null where it could not be measured.
        figures: what that rests on.
    """

    claim: str
    gauge: str
    held: bool | None
    figures: str


@dataclass(frozen=True)
class Analysis:
    """What was measured of a recogniser; an object of `codert analyze --json`.

    Attributes:
        run: its folder.
        strategy: how it was trained.
        role: student or teacher.
        utterances: how many were measured.
        frames: of the encoder, in all of them.
        labels: emitted in all of them.
        frame_ms: how far apart encoder frames are, in milliseconds.
        symbols: V, blank included.
        skipped: utterances that could not be measured, with reasons.
        as_trained: what depends on the gauge, of the logits as they are.
        centred: likewise, with the data's mean decoder logits moved into the encoder logits.
        claims: of the paper's abstract.
        agreement: with the first recogniser; null for itself.
        notes: what could not be measured, and why.
    """

    run: str
    strategy: str
    role: str
    utterances: int
    frames: int
    labels: int
    frame_ms: float
    symbols: int
    skipped: tuple[Skipped, ...]
    as_trained: Gauge
    centred: Gauge
    claims: tuple[Claim, ...]
    agreement: Agreement | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Trace:
    """An utterance over time, for pictures.

    Attributes:
        id: the utterance's.
        reference: what was said.
        pieces: its labels as word-pieces.
        features: (T, F) log-mel energies.
        feature_seconds: how far apart they are.
        entropies: as trained.
        frame_seconds: how far apart encoder frames are.
    """

    id: str
    reference: str
    pieces: tuple[str, ...]
    features: Tensor
    feature_seconds: float
    entropies: Entropies
    frame_seconds: float


@dataclass(frozen=True, eq=False)
class Analysed:
    """A recogniser's analysis, and what pictures of it need.

    Attributes:
        analysis: what was measured.
        symbols: V word-pieces.
        confusions: the mean probability of each symbol in the encoder logits, as trained, where
            each label is emitted, (V, V).
        traces: of some utterances.
    """

    analysis: Analysis
    symbols: Sequence[str]
    confusions: Numbers
    traces: Sequence[Trace]


def analyse(
    runs: Sequence[Path],
    utterances: Sequence[Utterance],
    cache: Path,
    device: torch.device,
    *,
    config: DataConfig = DataConfig(),  # noqa: B008 (frozen)
    voice: str = "en-us",
    traced: Sequence[str] = (),
) -> list[Analysed]:
    """Measure recognisers on utterances, one after the other, each against the first.

    Args:
        runs: their folders.
        utterances: with texts. One that cannot be used is skipped, with a reason.
        cache: where features are kept.
        device: to compute on.
        config: how utterances are put together; those above its `max_seconds` are skipped.
        voice: espeak-ng's, for the phones of words.
        traced: ids of utterances to keep whole, for pictures.

    Raises:
        InputError: a folder is not a recogniser's, or no utterance can be used.
    """
    subjects = [_Subject(folder, utterances, cache, device, config) for folder in runs]
    first = subjects[0]
    heard: dict[bytes, tuple[dict[int, Phones], str | None]] = {}
    emissions: dict[str, Emissions] = {}
    analysed = []
    for subject in subjects:
        pieces = subject.transcriber.wordpieces
        if pieces.model not in heard:
            heard[pieces.model] = _pronounced(utterances, pieces, voice)
        phones, silent = heard[pieces.model]
        notes = [] if silent is None else [silent]
        comparable = pieces == first.transcriber.wordpieces
        if not comparable:
            notes.append(f"not compared with {first.folder}, which has other word-pieces")
        meters = _Meters(subject, emissions, first if comparable else None, frozenset(traced))
        analysed.append(meters.run(phones, notes))
    return analysed


def _pronounced(
    utterances: Sequence[Utterance], pieces: WordPieces, voice: str
) -> tuple[dict[int, Phones], str | None]:
    """The phones of word-pieces, or why there are none."""
    try:
        return pronunciations((normalise(u.text) for u in utterances), pieces, voice), None
    except InputError as error:
        return {}, f"no phones, so whether rivals sound alike is not known: {error}"


class _Subject:
    """A recogniser on its device with its utterances."""

    def __init__(
        self,
        folder: Path,
        utterances: Sequence[Utterance],
        cache: Path,
        device: torch.device,
        config: DataConfig,
    ) -> None:
        self.folder, self.device = folder, device
        self.transcriber = Transcriber.load(folder)
        self.recogniser = self.transcriber.recogniser.to(device)
        pieces, features = self.transcriber.wordpieces, self.transcriber.features
        self.feature_seconds = features.shift_ms / 1000
        encoder = self.transcriber.card.model.encoder
        self.frame_seconds = self.feature_seconds * encoder.subsampling
        self.lookahead = encoder.lookahead
        objections = {u.id: _objection(normalise(u.text), pieces) for u in utterances}
        self.skipped = [Skipped(id, why) for id, why in objections.items() if why]
        usable = [u for u in utterances if not objections[u.id]]
        if not usable:
            why = f"; the first: {self.skipped[0].reason}" if self.skipped else ""
            raise InputError(f"{folder}: none of {len(utterances)} texts can be used{why}")
        self.dataset = Dataset(usable, pieces, features, config, cache, training=False)

    def labels(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The labels of every batch, on the device."""
        for batch in self.dataset.batches(0):
            on_device = batch.to(self.device)
            yield on_device.labels, on_device.label_lengths

    def readings(self) -> Iterator[tuple[Batch, int, Reading]]:
        """Every utterance that can be aligned: its batch, its row there, its reading."""
        bar = tqdm(
            total=len(self.dataset),
            desc=str(self.folder),
            unit=" utterances",
            leave=False,
            # In a file each refreshing is another line.
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
        )
        with bar:
            for batch in self.dataset.batches(0):
                b = batch.to(self.device)
                inputs = (b.features, b.frame_lengths, b.labels, b.label_lengths)
                for row, reading in enumerate(read(self.recogniser, *inputs)):
                    bar.update()
                    if reading.aligned:
                        yield batch, row, reading
                    else:
                        why = "its text cannot be aligned with it, or its logits are not finite"
                        self.skipped.append(Skipped(batch.ids[row], why))


class _Meters:
    """All that is measured of one recogniser in one pass over its utterances."""

    def __init__(
        self,
        subject: _Subject,
        emissions: dict[str, Emissions],
        first: _Subject | None,
        traced: frozenset[str],
    ) -> None:
        self._subject, self._emissions, self._first = subject, emissions, first
        self._traced = traced
        self._moved = mean_decoder_logits(subject.recogniser, subject.labels())
        symbols, moved = len(subject.transcriber.wordpieces), self._moved
        self._entropies = EntropyMeter(), EntropyMeter(moved)
        self._confusions = Confusions(symbols), Confusions(symbols, moved)
        self._agreement = AgreementMeter("" if first is None else str(first.folder))

    def run(self, phones: Mapping[int, Phones], notes: Sequence[str]) -> Analysed:
        utterances = frames = labels = 0
        traces = []
        for batch, row, reading in self._subject.readings():
            utterances += 1
            frames += len(reading.encoder_logits)
            labels += len(reading.labels)
            speaker = self._subject.dataset.utterances[batch.ids[row]].speaker
            for entropies in self._entropies:
                entropies.add(reading, speaker)
            for confusions in self._confusions:
                confusions.add(reading)
            self._compare(batch.ids[row], reading)
            if batch.ids[row] in self._traced:
                traces.append(self._trace(batch, row, reading))
        symbols = self._subject.transcriber.wordpieces.symbols
        as_trained, centred = (
            Gauge(
                entropies.summary(),
                confusions.table(symbols, phones),
                similarity(confusions.matrix, confusions.counts.tolist(), phones),
            )
            for entropies, confusions in zip(self._entropies, self._confusions, strict=True)
        )
        card = self._subject.transcriber.card
        analysis = Analysis(
            run=str(self._subject.folder),
            strategy=card.strategy,
            role=card.role,
            utterances=utterances,
            frames=frames,
            labels=labels,
            frame_ms=1000 * self._subject.frame_seconds,
            symbols=len(symbols),
            skipped=tuple(self._subject.skipped + self._subject.dataset.skipped),
            as_trained=as_trained,
            centred=centred,
            claims=(*claims(as_trained, "as_trained"), *claims(centred, "centred")),
            agreement=self._agreement.agreement(),
            notes=tuple(notes),
        )
        return Analysed(analysis, symbols, self._confusions[0].matrix, traces)

    def _compare(self, id: str, reading: Reading) -> None:
        if self._first is None:
            return
        own = self._subject
        emissions = Emissions.of(reading, self._moved, own.frame_seconds, own.lookahead)
        if self._first is own:
            self._emissions[id] = emissions
        elif id in self._emissions:
            self._agreement.add(self._emissions[id], emissions)

    def _trace(self, batch: Batch, row: int, reading: Reading) -> Trace:
        id, own = batch.ids[row], self._subject
        symbols = own.transcriber.wordpieces.symbols
        return Trace(
            id=id,
            reference=own.dataset.texts[id],
            pieces=tuple(symbols[label] for label in reading.labels.tolist()),
            features=batch.features[row, : batch.frame_lengths[row]],
            feature_seconds=own.feature_seconds,
            entropies=Entropies.of(reading),
            frame_seconds=own.frame_seconds,
        )


def claims(gauge: Gauge, name: str) -> tuple[Claim, ...]:
    """What the paper's abstract says of entropies and confusions, in one gauge."""
    entropy, alike = gauge.entropy, gauge.similarity
    joint, decoder = entropy.joint_below_encoder.all, entropy.decoder_below_encoder.all
    return (
        Claim(
            "the encoder logits' entropy is above the joint logits'",
            name,
            joint.held,
            f"by {joint} nats a frame",
        ),
        Claim(
            "the decoder logits' entropy is below the encoder logits'",
            name,
            decoder.held,
            f"by {decoder} nats a frame",
        ),
        Claim(
            "what the encoder logits confuse sounds alike",
            name,
            None if alike is None else alike.distance < alike.matched and alike.p < _LEVEL,
            "not known"
            if alike is None
            else f"phone distance {alike.distance:.3f} to rivals, {alike.matched:.3f} to pieces of "
            f"the same length and frequency; p {alike.p:.2g}, n {alike.pieces}",
        ),
    )


def _objection(text: str, pieces: WordPieces) -> str | None:
    """Why an utterance of this text cannot be measured."""
    if not text:
        return "no text"
    if character := pieces.uncovered(text):
        return f"no word-piece covers {character!r}"
    return None

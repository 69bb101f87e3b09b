"""The features of a corpus, computed once for all trainings on a machine."""

import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from codert.data.audio import AudioError, in_file, read_audio
from codert.data.augmentation import spoken_faster
from codert.data.features import Fbank, FeatureConfig, Features
from codert.data.manifest import Utterance
from codert.data.workers import cores, in_order, processes
from codert.files import locked, unwritable, write_text

_CHUNK = 32  # utterances that a process takes at a time


def utterance_features(utterance: Utterance, fbank: Fbank, speed: float = 1.0) -> Features:
    """The features (T, mels) of a recording, spoken `speed` times as fast.

    Raises:
        AudioError: the recording cannot be used.
    """
    samples = read_audio(utterance.audio, fbank.config.rate)
    with in_file(utterance.audio):
        return fbank(spoken_faster(samples, speed))


class FeatureCache:
    """Features of many utterances in one memory-mapped file of half precision."""

    def __init__(
        self,
        frames: np.ndarray[tuple[int, int], np.dtype[np.float16]],
        index: Mapping[str, Sequence[int]],
        unreadable: Mapping[str, str],
    ) -> None:
        """Use `open`: this takes the frames of all, {id: (offset, T)} and {id: reason}."""
        self._frames = np.asarray(frames)  # slices of a memmap are slow to make
        self._index = dict(index)
        self.unreadable = dict(unreadable)

    @classmethod
    def open(
        cls,
        folder: Path,
        utterances: Sequence[Utterance],
        config: FeatureConfig,
        speed: float = 1.0,
    ) -> "FeatureCache":
        """The features of `utterances`, computed on all cores unless they are in `folder`.

        A cache belongs to one `config`, one `speed` and these very audio files with their
        sizes, times and whether they may be read. A second process that asks for it while it is
        built waits, and one that comes after a killed one goes on where that was.

        Raises:
            InputError: the folder cannot be written to, or the disk is full.
        """
        key = _key(utterances, config, speed)
        frames, index = folder / f"{key}.npy", folder / f"{key}.json"
        if (cache := cls._read(frames, index)) is None:
            with locked(folder / f"{key}.lock"):
                if (cache := cls._read(frames, index)) is None:
                    _build(frames, index, utterances, config, speed)
                    cache = cls._read(frames, index)
        assert cache is not None  # it was just written
        return cache

    @classmethod
    def _read(cls, frames: Path, index: Path) -> "FeatureCache | None":
        """What both files hold; None where they are not there, or were cut off or spoilt."""
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            values = np.load(frames, mmap_mode="r")
        except (FileNotFoundError, NotADirectoryError, EOFError, ValueError):
            return None
        end = max((offset + many for offset, many in content["index"].values()), default=0)
        whole = len(values) == end
        return cls(values, content["index"], content["unreadable"]) if whole else None

    def frames(self, id: str) -> int:
        """T of an utterance."""
        return self._index[id][1]

    def __getitem__(self, id: str) -> Features:
        """The features (T, mels) of an utterance."""
        offset, frames = self._index[id]
        return self._frames[offset : offset + frames].astype(np.float32)


def _key(utterances: Sequence[Utterance], config: FeatureConfig, speed: float) -> str:
    digest = hashlib.blake2b(json.dumps([asdict(config), speed]).encode(), digest_size=12)
    for each in utterances:
        try:
            status = each.audio.stat()
            forbidden = [] if os.access(each.audio, os.R_OK) else ["forbidden"]
            state = [status.st_size, status.st_mtime_ns, *forbidden]
        except OSError:
            state = []
        digest.update(json.dumps([each.id, str(each.audio), *state]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Task:
    utterances: Sequence[Utterance]
    config: FeatureConfig
    speed: float


def _compute(task: _Task) -> list[np.ndarray[tuple[int, int], np.dtype[np.float16]] | str]:
    """The features of each utterance, or why there are none."""
    fbank = Fbank(task.config)
    results: list[np.ndarray[tuple[int, int], np.dtype[np.float16]] | str] = []
    for utterance in task.utterances:
        try:
            results.append(utterance_features(utterance, fbank, task.speed).astype(np.float16))
        except AudioError as error:
            results.append(str(error))
    return results


def _build(
    frames: Path,
    index: Path,
    utterances: Sequence[Utterance],
    config: FeatureConfig,
    speed: float,
) -> None:
    """Compute what a process that was killed at it has not."""
    part, log = frames.with_suffix(".part"), index.with_suffix(".log")
    try:
        done = _done(part, log, config.mels)
        write_text(log, "".join(f"{json.dumps(each)}\n" for each in done))
        with (
            part.open("r+b" if part.exists() else "w+b") as file,
            log.open("a", encoding="utf-8") as told,
        ):
            file.truncate(_bytes(done, config.mels))
            file.seek(0, os.SEEK_END)
            if not done:
                _write_header(file, 0, config.mels)
            for result in _computed(utterances[len(done) :], config, speed):
                if not isinstance(result, str):
                    file.write(result.tobytes())
                    file.flush()
                # Told once it is there: its frames, or why there are none.
                done.append(result if isinstance(result, str) else len(result))
                told.write(f"{json.dumps(done[-1])}\n")
                told.flush()
            file.seek(0)
            _write_header(file, sum(_frames(each) for each in done), config.mels)
        os.replace(part, frames)
    except OSError as error:
        raise unwritable(frames, error, frames.parent) from None
    ids = [each.id for each in utterances]
    ends = itertools.accumulate(map(_frames, done))
    offsets = {
        id: (end - each, each)
        for id, each, end in zip(ids, done, ends, strict=True)
        if not isinstance(each, str)
    }
    unreadable = {id: each for id, each in zip(ids, done, strict=True) if isinstance(each, str)}
    # The index comes last: where it is, the frames are whole.
    write_text(index, json.dumps({"index": offsets, "unreadable": unreadable}))
    log.unlink(missing_ok=True)


def _done(part: Path, log: Path, mels: int) -> list[int | str]:
    """What is finished of a build: the frames of each utterance, or why it has none."""
    if not (part.exists() and log.exists()):
        return []
    *lines, _ = log.read_text(encoding="utf-8").split("\n")  # the last may be cut off
    try:
        done: list[int | str] = [json.loads(line) for line in lines]
    except ValueError:  # where the power was cut
        return []
    size = part.stat().st_size
    while done and _bytes(done, mels) > size:
        done.pop()
    return done


def _frames(done: int | str) -> int:
    return 0 if isinstance(done, str) else done


def _bytes(done: Sequence[int | str], mels: int) -> int:
    """How much of the file is whole: a header, and the frames."""
    header = io.BytesIO()
    _write_header(header, 0, mels)
    return len(header.getvalue()) + 2 * mels * sum(map(_frames, done)) if done else 0


def _computed(
    utterances: Sequence[Utterance], config: FeatureConfig, speed: float
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.float16]] | str]:
    chunks = [utterances[i : i + _CHUNK] for i in range(0, len(utterances), _CHUNK)]
    tasks = (_Task(chunk, config, speed) for chunk in chunks)
    jobs = min(cores(), len(chunks)) or 1
    with (
        processes(jobs) as pool,
        tqdm(total=len(utterances), desc="features", unit=" utterances") as progress,
    ):
        for chunk, results in zip(chunks, in_order(_compute, tasks, pool), strict=True):
            yield from results
            progress.update(len(chunk))


def _write_header(file: IO[bytes], frames: int, mels: int) -> None:
    # numpy pads this header so that its length does not depend on the number of frames.
    header = {"descr": "<f2", "fortran_order": False, "shape": (frames, mels)}
    np.lib.format.write_array_header_1_0(file, header)

"""The corpus of spoken commands: sentences, voices, rooms and noise, all from a seed."""

import math
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from codert.data.audio import Samples, resampled
from codert.data.augmentation import Noise
from codert.data.commands.espeak import RATE as ESPEAK_RATE
from codert.data.commands.espeak import Engine
from codert.data.commands.grammar import draw_sentence
from codert.data.commands.voices import draw_voice
from codert.data.corpus_folder import making
from codert.data.description import describe
from codert.data.manifest import Utterance, write_manifest
from codert.data.text import normalise
from codert.data.workers import cores, in_order, processes
from codert.errors import InputError

RATE = 16000

_VERSION = 5  # of what is said and how; another one is another corpus
_CHUNK = 32  # utterances that an engine says one after the other
_SPLITS = ("train", "dev", "test")
_NOISE = Noise(low_db=10.0, high_db=30.0)


@dataclass(frozen=True)
class CommandsConfig:
    """What decides every sample of the corpus: training hours, words to score, seed."""

    hours: float
    seed: int
    test_words: int
    dev_words: int
    version: int = _VERSION


def prepare(
    folder: Path,
    hours: float = 5.0,
    seed: int = 0,
    jobs: int | None = None,
    test_words: int = 5500,
    dev_words: int = 1200,
) -> Path:
    """Make the corpus in `folder`, or find it there, and return its manifest.

    The same arguments give the same samples on any number of cores. Sentences and variants
    of voices that are in the split `dev` or `test` are in no other split.

    Args:
        folder: made whole or not at all; a preparation that was stopped starts anew.
        hours: of speech to train on.
        seed: of all that is drawn.
        jobs: processes; all cores unless given.
        test_words: words of the split `test`, at least.
        dev_words: words of the split `dev`, at least.

    Raises:
        InputError: the folder holds something else, cannot be written to, or espeak-ng is
            not installed.
    """
    if not 0 < hours < math.inf or test_words <= 0 or dev_words <= 0:
        raise InputError("hours, test_words and dev_words must be above 0, and finite")
    if seed < 0:
        raise InputError(f"the seed is {seed}; write 0 or more")
    config = CommandsConfig(hours, seed, test_words, dev_words)
    with making(folder, asdict(config)) as building:
        if building:
            _build(building, config, jobs or cores())
    return folder.absolute() / "manifest.tsv"


def _build(folder: Path, config: CommandsConfig, jobs: int) -> None:
    amounts: dict[str, tuple[float, Callable[[Utterance], float]]] = {
        "train": (config.hours * 3600, lambda each: each.seconds),
        "dev": (config.dev_words, lambda each: len(each.text.split())),
        "test": (config.test_words, lambda each: len(each.text.split())),
    }
    utterances = []
    with processes(jobs) as pool:
        for split, (wanted, amount) in amounts.items():
            unit = " s" if split == "train" else " words"
            with tqdm(total=round(wanted), desc=f"commands, {split}", unit=unit) as progress:
                made = 0.0
                for utterance in _spoken(folder, config.seed, split, pool):
                    utterances.append(utterance)
                    made += amount(utterance)
                    progress.update(min(round(made), round(wanted)) - progress.n)
                    if made >= wanted:
                        break
    kept = {each.audio for each in utterances}
    for surplus in set(folder.rglob("*.wav")) - kept:
        surplus.unlink()
    write_manifest(folder / "manifest.tsv", utterances)
    describe(folder, "English commands to a voice assistant, as spoken by espeak-ng")


def _spoken(folder: Path, seed: int, split: str, pool: Executor | None) -> Iterator[Utterance]:
    """The endless utterances of a split."""
    tasks = (_Task(folder / split, seed, split, start) for start in count(0, _CHUNK))
    for chunk in in_order(_speak, tasks, pool):
        yield from chunk


@dataclass(frozen=True)
class _Task:
    folder: Path
    seed: int
    split: str
    start: int


def _speak(task: _Task) -> list[Utterance]:
    """Say a chunk of utterances into files."""
    task.folder.mkdir(exist_ok=True)
    utterances = []
    with Engine() as engine:
        for index in range(task.start, task.start + _CHUNK):
            rng = np.random.default_rng([task.seed, _SPLITS.index(task.split), index])
            sentence = draw_sentence(task.split, rng)
            speaker, voice = draw_voice(task.split, rng)
            speech = engine.say(
                sentence,
                voice,
                words_per_minute=int(rng.integers(130, 211)),
                pitch=int(rng.integers(25, 76)),
                pitch_range=int(rng.integers(30, 71)),
            )
            samples = _recorded(speech, rng)
            id = f"{task.split}-{index:06}"
            audio = task.folder / f"{id}.wav"
            _write_wave(audio, samples)
            seconds = len(samples) / RATE
            utterances.append(
                Utterance(id, audio, normalise(sentence), speaker, task.split, seconds)
            )
    return utterances


def _recorded(speech: Samples, rng: np.random.Generator) -> Samples:
    """`speech` (N,) of espeak-ng as a microphone would hear it from one of many people."""
    # Played slower, a voice comes from a longer vocal tract.
    tract = rng.uniform(0.93, 1.07)
    speech = resampled(speech, ESPEAK_RATE, RATE * tract)
    before, after = rng.uniform(0.1, 0.4, 2)
    padded = np.pad(speech, (round(before * RATE), round(after * RATE)))
    noisy = _NOISE(padded, rng)
    recorded: Samples = noisy * np.float32(rng.uniform(0.3, 0.9) / np.abs(noisy).max())
    return recorded


def _write_wave(path: Path, samples: Samples) -> None:
    # Not soundfile: it waits for the disk after each file.
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())

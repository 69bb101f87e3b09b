"""The corpus: the clips that speak, what they say, and what is held out."""

import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from codert.data.amazon_queen.archive import Archive
from codert.data.amazon_queen.package import GAME, LICENCE, unpack
from codert.data.amazon_queen.script import part, read_script
from codert.data.corpus_folder import making
from codert.data.description import describe
from codert.data.manifest import Utterance, write_manifest
from codert.data.text import normalise
from codert.errors import InputError
from codert.files import write_text

_DECIDED_BY = {"corpus": "amazon-queen", "version": 1}
_LEFT_OUT = "left-out.tsv"
_SHORTEST = 0.25  # seconds
_COMMON = 3  # sentences of so many words may be said in several splits, as in "I don't know"

_NOISES = re.compile(r"\([^)]*\)|<[^>]*>")  # (sigh), <koff>
_UNSPEAKABLE = re.compile(r"[0-9/&#$]")  # 24 hours, Y/N, &#($!!
_ORNAMENTS = str.maketrans("", "", "^_@")  # the game's signs for a trade mark and a heart


@dataclass(frozen=True)
class _Clip:
    name: str
    content: bytes
    text: str
    speaker: str
    scene: str
    seconds: float

    def told_by(self) -> set[str]:
        """What would give this clip away if it were trained on."""
        recording = hashlib.blake2b(self.content).hexdigest()
        return {recording, self.text} if len(self.text.split()) > _COMMON else {recording}


def prepare(folder: Path, deb: Path | None = None) -> Path:
    """Make the corpus in `folder`, or find it there, and return its manifest.

    Scenes are held out, not clips: all dialogues of a name, or all cutscenes of a room, are in
    one split. What of four words or more is said in a held-out scene too is left out elsewhere.
    Voices are not held out: the hero has two fifths of the clips.

    Args:
        folder: made whole or not at all.
        deb: Debian's package of the game, or None to fetch it with apt-get.

    Raises:
        InputError: the package cannot be had, is not this one, or is corrupt; or the folder
            holds something else or cannot be written to.
    """
    with making(folder, _DECIDED_BY) as building:
        if building:
            fetched = building / "package"
            fetched.mkdir()
            files = unpack(fetched, deb)
            shutil.copytree(files / LICENCE, building / "doc")
            _build(building, Archive(files / GAME))
            shutil.rmtree(fetched)
    return folder.absolute() / "manifest.tsv"


def left_out(folder: Path) -> Counter[str]:
    """How many clips of a prepared corpus were left out, by the reason."""
    lines = (folder / _LEFT_OUT).read_text(encoding="utf-8").splitlines()[1:]
    return Counter(line.split("\t")[1] for line in lines)


def _build(folder: Path, archive: Archive) -> None:
    reasons: dict[str, str] = {}
    clips = _clips(archive, reasons)
    splits = _splits(clips)
    clips = _apart(clips, splits, reasons)
    utterances = []
    for split in ("train", "dev", "test"):
        (folder / split).mkdir()
    for clip in clips:
        split = splits[clip.scene]
        # As the package has them: decoding costs less than reading ten times the bytes, and
        # the licence wants what is modified marked.
        audio = folder / split / f"{clip.name}.mp3"
        audio.write_bytes(clip.content)
        id = f"queen-{clip.name}"
        utterances.append(Utterance(id, audio, clip.text, clip.speaker, split, clip.seconds))
    write_manifest(folder / "manifest.tsv", utterances)
    describe(folder, "English as actors say it in a game of 1995, Flight of the Amazon Queen")
    lines = [f"{name}\t{reasons[name]}\n" for name in sorted(reasons)]
    write_text(folder / _LEFT_OUT, "".join(["clip\treason\n", *lines]))


def _clips(archive: Archive, reasons: dict[str, str]) -> list[_Clip]:
    """What can be learnt from; `reasons` takes the rest."""
    script = read_script(archive)
    clips = []
    for entry in tqdm(archive.names(".SB"), desc="amazon-queen", unit=" clips"):
        name = entry.removesuffix(".SB")
        said = part(script, name)
        if said is None:
            reasons[name] = "a sound, not a line of the script"
            continue
        text, line = said
        if _UNSPEAKABLE.search(text):
            reasons[name] = "digits or signs that do not say how they are spoken"
            continue
        text = normalise(_NOISES.sub(" ", text).translate(_ORNAMENTS))
        if not text:
            reasons[name] = "no words"
            continue
        content = archive.content(entry)
        try:
            # Decoded, because the length is not in these files' headers.
            samples, rate = soundfile.read(io.BytesIO(content))
        except soundfile.SoundFileError as error:
            raise InputError(
                f"{archive.path}, {entry}: not an MP3 file: {error}; fetch the package anew"
            ) from None
        seconds = len(samples) / rate
        if seconds < _SHORTEST:
            reasons[name] = f"shorter than {_SHORTEST} s"
            continue
        clips.append(_Clip(name, content, text, line.speaker, _scene(line.source), seconds))
    return clips


def _scene(source: str) -> str:
    """BOB for BOB1.DOG, C31 for C31A.CUT: what is likely to say the same things again."""
    stem = source.partition(".")[0]
    room = re.fullmatch(r"(C\d+)[A-Z]", stem)
    return room[1] if room else stem.rstrip("0123456789")


def _splits(clips: Sequence[_Clip]) -> dict[str, str]:
    """The split of each scene, by its place in the alphabet, whatever is said there."""
    scenes = sorted({clip.scene for clip in clips})
    by_place = {4: "dev", 9: "test"}
    return {scene: by_place.get(place % 10, "train") for place, scene in enumerate(scenes)}


def _apart(
    clips: Sequence[_Clip], splits: Mapping[str, str], reasons: dict[str, str]
) -> list[_Clip]:
    """The clips, without those that give away what is held out."""
    held_out: set[str] = set()
    kept = set()
    for split in ("test", "dev", "train"):
        here = [clip for clip in clips if splits[clip.scene] == split]
        for clip in here:
            if held_out.isdisjoint(clip.told_by()):
                kept.add(clip.name)
            else:
                reasons[clip.name] = "said in a held-out scene too"
        held_out |= {sign for clip in here for sign in clip.told_by()}
    return [clip for clip in clips if clip.name in kept]

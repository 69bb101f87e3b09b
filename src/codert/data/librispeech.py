"""LibriSpeech and mini LibriSpeech: read English, from openslr.org or a mirror of it."""

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import soundfile
from tqdm import tqdm

from codert.data.audio import seconds_of
from codert.data.description import describe
from codert.data.download import download
from codert.data.manifest import Utterance, write_manifest
from codert.data.text import normalise
from codert.errors import InputError
from codert.files import locked, unwritable, write_bytes

_OPENSLR = "https://www.openslr.org/resources"


@dataclass(frozen=True)
class Part:
    """A part of the corpus.

    Attributes:
        resource: its number at openslr.org.
        md5: of its archive, as openslr.org publishes it.
    """

    resource: int
    md5: str


PARTS = {
    "dev-clean-2": Part(31, "6d7ab67ac6a1d2c993d050e16d61080d"),
    "train-clean-5": Part(31, "5df7d4e78065366204ca6845bb08f490"),
    "dev-clean": Part(12, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": Part(12, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": Part(12, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": Part(12, "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": Part(12, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": Part(12, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": Part(12, "d1a0fd59409feb2c614ce4d30c387708"),
}


def prepare(folder: Path, parts: Sequence[str], url: str | None = None) -> list[Path]:
    """Bring parts of the corpus into `folder` and return the manifest of each.

    A manifest is there once its part is whole, and nothing is fetched for it again. What was
    stopped goes on: downloads, and then files unpacked from the archive, which is deleted in
    the end. Every utterance of a part is in the split that its name begins with.

    Args:
        folder: takes any number of parts, one command after the other.
        parts: names from `PARTS`.
        url: of a server that has `12/dev-clean.tar.gz` and the like below it; openslr.org's
            unless given.

    Raises:
        InputError: a part is unknown, cannot be fetched or is corrupt, or there is no room.
    """
    for name in parts:
        if name not in PARTS:
            raise InputError(f"{name!r} is no part of LibriSpeech; there are {', '.join(PARTS)}")
    folder, server = folder.absolute(), (url or _OPENSLR).rstrip("/")
    manifests = [folder / f"{name}.tsv" for name in parts]
    with locked(folder / ".lock"):
        for name, manifest in zip(parts, manifests, strict=True):
            archive = folder / f"{name}.tar.gz"
            if not manifest.exists():
                part = PARTS[name]
                download(f"{server}/{part.resource}/{archive.name}", archive, part.md5)
                _unpack(archive, name)
                write_manifest(manifest, _utterances(folder, name))
                describe(folder, "English as it is read aloud, in LibriSpeech")
            archive.unlink(missing_ok=True)
    return manifests


def _unpack(archive: Path, name: str) -> None:
    """Unpack the files of a part; those that are there from another time are left alone."""
    try:
        size = archive.stat().st_size
        with (
            archive.open("rb") as packed,
            tarfile.open(fileobj=packed, mode="r|gz") as members,
            tqdm(desc=f"unpacking {name}", total=size, unit="B", unit_scale=True) as progress,
        ):
            for member in members:
                progress.update(packed.tell() - progress.n)
                target = archive.parent / _inside(member.name, archive)
                content = members.extractfile(member) if member.isfile() else None
                if content is None or _is_there(target, member.size):
                    continue
                write_bytes(target, content.read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(
            f"{archive}: cannot be unpacked: {error}; delete it and run the same command again"
        ) from None
    except OSError as error:
        raise unwritable(archive.parent, error) from None


def _inside(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != ("LibriSpeech",):
        raise InputError(f"{archive}: {name!r} lies outside of LibriSpeech; take another archive")
    return path


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _utterances(folder: Path, name: str) -> Iterator[Utterance]:
    split = name.partition("-")[0]
    transcripts = sorted((folder / "LibriSpeech" / name).rglob("*.trans.txt"))
    if not transcripts:
        raise InputError(f"{folder / 'LibriSpeech' / name}: holds no transcripts")
    for transcript in tqdm(transcripts, desc=name, unit=" chapters"):
        for line in transcript.read_text(encoding="utf-8").splitlines():
            id, _, text = line.partition(" ")
            audio = transcript.with_name(f"{id}.flac")
            try:
                seconds = seconds_of(audio)
            except soundfile.SoundFileError as error:
                raise InputError(f"{audio}: not readable as audio: {error}") from None
            yield Utterance(id, audio, normalise(text), id.partition("-")[0], split, seconds)

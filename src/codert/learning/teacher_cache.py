"""What a frozen teacher's encoder gives, kept on disk for later epochs and runs.

TEACHER.layers    records, one behind the other: the digest of an utterance's features, that of
                  what follows, its frames T', and its last layer (T', D) in float32
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from codert.errors import InputError
from codert.files import locked, unwritable
from codert.models import RecogniserConfig
from codert.models.folder import weights_digest
from codert.models.recogniser import Encoded, Recogniser

_HEADER = Struct("<16s16sI")  # features, content, frames
_FORMAT = 2


class _Place(NamedTuple):
    """Where the layer of an utterance begins, its frames, and what its bytes must come to."""

    offset: int
    frames: int
    content: bytes


class TeacherCache:
    """The last layer of a frozen encoder, by the features that it heard.

    A file belongs to one teacher's weights and configuration, and a record to one utterance's
    features: what has changed is not found, and made anew. So every speed of an
    utterance has a record, and what no two epochs hear alike must not be asked for. The code of
    an encoder that is a foreign module it does not know: after a change to that remove `*.layers`.

    Each utterance is encoded by itself, so that a record depends on nothing that it came
    beside: a run is the same bit for bit whatever was in the cache before.

    Records are appended under a lock, in which a process also takes in what others have
    appended and cuts off what was not written to its end. So several processes may share
    a cache, and one that is killed costs its last batch at most.
    """

    def __init__(self, path: Path, recogniser: Recogniser) -> None:
        """Use `open`."""
        self._path, self._recogniser = path, recogniser
        self._width = recogniser.encoder.layer_widths[-1]
        self._places: dict[bytes, _Place] = {}
        self._end = 0  # behind the last whole record that is known

    @classmethod
    def open(
        cls,
        folder: Path,
        recogniser: Recogniser,
        config: RecogniserConfig,
        frames: int,
        where: str,
    ) -> "TeacherCache":
        """The cache of a recogniser in inference mode, whose outputs are in `folder` or will be.

        Args:
            folder: shared by all teachers.
            recogniser: on the device that it will run on.
            config: of the recogniser, as its folder has it.
            frames: of the features of all that will be heard, to see whether the disk has room.
            where: the plan's key, for errors.

        Raises:
            InputError: the folder cannot be written to, or the disk is too small.
        """
        identity = f"{_FORMAT} {config} {weights_digest(recogniser)}".encode()
        name = hashlib.blake2b(identity, digest_size=12).hexdigest()
        cache = cls(folder / f"{name}.layers", recogniser)
        cache._append({})
        needed = frames / recogniser.encoder.subsampling * cache._width * 4 - cache._end
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{where}: {folder} would take {needed / 1e9:.3g} GB more and has "
                f"{free / 1e9:.3g} GB; free space, name another folder, or remove cached"
            )
        return cache

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """As `Recogniser.encode`: (B, T, F), (B,) to frames, encoder logits and the last layer.

        Raises:
            InputError: the disk is full.
        """
        heard = [x[:n] for x, n in zip(features, lengths.tolist(), strict=True)]
        keys = [_digest(x.cpu().contiguous().numpy().tobytes()) for x in heard]
        layers = self._read(keys)
        missing = {k: x for k, x in zip(keys, heard, strict=True) if k not in layers}
        made = {key: self._alone(x) for key, x in missing.items()}
        if made:
            layers |= made
            self._append(made)
        rows = [layers[key] for key in keys]
        frames = torch.tensor([len(row) for row in rows], device=features.device)
        layer = pad_sequence(rows, batch_first=True).to(features.device)
        return self._recogniser.encoder.encoded((layer,), frames)

    def _alone(self, features: Tensor) -> Tensor:
        """The last layer (T', D) of one utterance's features (T, F)."""
        length = torch.tensor([len(features)], device=features.device)
        encoded = self._recogniser.encode(features[None], length)
        return encoded.layers[-1][0, : int(encoded.lengths[0])].float().cpu()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """Those that are there and whole."""
        layers = {}
        with self._path.open("rb") as file:
            for key in set(keys) & self._places.keys():
                place = self._places[key]
                file.seek(place.offset)
                content = file.read(place.frames * self._width * 4)
                if _digest(content) == place.content:
                    values = np.frombuffer(content, np.float32).copy()
                    layers[key] = torch.from_numpy(values).view(place.frames, self._width)
        return layers

    def _append(self, layers: Mapping[bytes, Tensor]) -> None:
        """Take in what others have written, and write behind it what they have not."""
        with locked(self._path.with_suffix(".lock")):
            try:
                with self._path.open("a+b") as file:
                    theirs = self._look()
                    file.truncate(self._end)
                    for key, layer in layers.items():
                        if key not in theirs:
                            file.write(_record(key, layer))
                self._look()
            except OSError as error:
                raise unwritable(self._path.parent, error) from None

    def _look(self) -> set[bytes]:
        """Take in the whole records behind those that are known; whose they are."""
        found = set()
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            while self._end + _HEADER.size <= size:
                file.seek(self._end)
                key, content, frames = _HEADER.unpack(file.read(_HEADER.size))
                offset = self._end + _HEADER.size
                if offset + frames * self._width * 4 > size:
                    break
                self._places[key] = _Place(offset, frames, content)
                found.add(key)
                self._end = offset + frames * self._width * 4
        return found


def _record(key: bytes, layer: Tensor) -> bytes:
    content = layer.contiguous().numpy().tobytes()
    return _HEADER.pack(key, _digest(content), len(layer)) + content


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
